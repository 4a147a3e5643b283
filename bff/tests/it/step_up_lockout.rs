//! Wrong codes are counted for each operator, in Postgres, across devices and instances, and lock the
//! second factor.

use std::time::Duration;

use contracts::clock::{Clock, Entropy};
use contracts::id::{DeviceId, FolioId, Id, OperatorId, TenantId};
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use service_kit::testing::prepare_all;

use crate::house::{Answer, House};
use crate::iam::{Iam, house};

const STEP_UP: &str = "/api/bff/backoffice/v1/auth/mfa/step-up";
const WRONG: &str = "MELMASTOON.IAM.MFA_CODE_INVALID";
const LOCKED: &str = "MELMASTOON.BFF.MFA_LOCKED";
const WINDOW: u64 = 15 * 60;

fn fresh<T: Id>() -> T {
    T::generate(&Clock::system(), &Entropy::system())
}

fn body() -> Value {
    json!({"method": "totp", "code": "123456", "scope": "folio.refund", "resource": fresh::<FolioId>()})
}

async fn show(house: &House) -> Answer {
    house.post(STEP_UP, &body()).await
}

/// A wrong code.
async fn guess(house: &House, iam: &Iam) -> Answer {
    iam.refuses(401, WRONG);
    show(house).await
}

async fn right(house: &House, iam: &Iam) -> Answer {
    iam.attests();
    show(house).await
}

#[track_caller]
fn is_locked(answer: &Answer) -> u64 {
    answer.is_problem(429, LOCKED);
    assert_eq!(answer.body["runbook"], "bff-backoffice/mfa-locked");
    let seconds: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert_eq!(answer.body["retryAfter"], seconds);
    seconds
}

/// Moves every attempt into the past.
async fn age(house: &House, seconds: u64) {
    let sql = format!(
        "UPDATE bff.mfa_attempts SET reserved_at = reserved_at - interval '{seconds} seconds',
                                     settled_at = settled_at - interval '{seconds} seconds'"
    );
    house.database.run(&sql).await;
}

async fn attempts(house: &House) -> usize {
    house.rows("SELECT attempt_id FROM bff.mfa_attempts").await.len()
}

#[tokio::test]
async fn after_five_wrong_codes_every_code_is_429_right_or_wrong_until_the_window_ends() {
    let (house, iam) = house().await;
    for _ in 0..5 {
        guess(&house, &iam).await.is_problem(401, WRONG);
    }
    for answer in [guess(&house, &iam).await, right(&house, &iam).await] {
        let seconds = is_locked(&answer);
        assert!((WINDOW - 60..=WINDOW).contains(&seconds), "{seconds}");
    }
    assert_eq!(iam.asked().len(), 5, "iam compares no more");
    age(&house, WINDOW - 60).await;
    assert!(is_locked(&right(&house, &iam).await) <= 60);
    age(&house, 60).await;
    assert_eq!(right(&house, &iam).await.status, 201);
    assert_eq!(attempts(&house).await, 0);
}

#[tokio::test]
async fn a_right_code_ends_the_series() {
    let (house, iam) = house().await;
    for _ in 0..3 {
        for _ in 0..4 {
            guess(&house, &iam).await.is_problem(401, WRONG);
        }
        assert_eq!(right(&house, &iam).await.status, 201);
    }
    assert_eq!(attempts(&house).await, 0);
}

#[tokio::test]
async fn the_count_is_the_operators_at_every_device_and_instance_and_nobody_elses() {
    let (house, iam) = house().await;
    let url = iam.url().to_owned();
    let mut elsewhere = house.another().asking(contracts::upstream::Upstream::Iam, &url);
    (elsewhere.device, elsewhere.session) = (fresh::<DeviceId>(), fresh());
    for _ in 0..2 {
        guess(&house, &iam).await.is_problem(401, WRONG);
        guess(&elsewhere, &iam).await.is_problem(401, WRONG);
    }
    guess(&house, &iam).await.is_problem(401, WRONG);
    for desk in [&house, &elsewhere] {
        is_locked(&right(desk, &iam).await);
    }
    (elsewhere.operator, elsewhere.session) = (fresh::<OperatorId>(), fresh());
    assert_eq!(right(&elsewhere, &iam).await.status, 201, "a colleague");
    (elsewhere.operator, elsewhere.tenant, elsewhere.session) =
        (house.operator, fresh::<TenantId>(), fresh());
    assert_eq!(right(&elsewhere, &iam).await.status, 201, "the same id in another tenant");
}

#[tokio::test]
async fn of_many_wrong_codes_at_once_on_two_instances_iam_compares_five() {
    let (house, iam) = house().await;
    let url = iam.url().to_owned();
    let another = house.another().asking(contracts::upstream::Upstream::Iam, &url);
    let instances = [house, another];
    for instance in &instances {
        assert_eq!(right(instance, &iam).await.status, 201, "what is made once is made before");
    }
    let before = iam.asked().len();
    iam.refuses(401, WRONG);
    let guesses = stream::iter(0..200).map(|number| show(&instances[number % 2]));
    // More at once than iam may compare, and no more than this machine serves within iam's time.
    let answers: Vec<_> = guesses.buffer_unordered(16).collect().await;
    let wrong = answers.iter().filter(|answer| answer.status == 401).count();
    assert_eq!((wrong, iam.asked().len() - before), (5, 5));
    for answer in answers.iter().filter(|answer| answer.status != 401) {
        is_locked(answer);
    }
    iam.attests();
    assert!(is_locked(&show(&instances[0]).await) > 60);
}

#[tokio::test]
async fn an_iam_that_judges_no_code_costs_no_attempt() {
    let (house, iam) = house().await;
    let no_judgement = [
        (500, "MELMASTOON.GENERAL.INTERNAL"),
        (503, "MELMASTOON.GENERAL.UNAVAILABLE"),
        (401, "MELMASTOON.GENERAL.UNAUTHENTICATED"),
        (404, "MELMASTOON.GENERAL.RESOURCE_NOT_FOUND"),
        (408, "MELMASTOON.GENERAL.REQUEST_TIMEOUT"),
        (429, "MELMASTOON.GENERAL.RATE_LIMITED"),
    ];
    for (status, code) in no_judgement {
        iam.refuses(status, code);
        for _ in 0..2 {
            assert_ne!(show(&house).await.body["code"], LOCKED, "{status} {code}");
        }
        assert_eq!(attempts(&house).await, 0, "{status} {code}");
    }
    iam.answers(200, json!({"verified": true}));
    show(&house).await.is_problem(502, "MELMASTOON.BFF.SCHEMA_DRIFT");
    assert_eq!(attempts(&house).await, 0);
}

#[tokio::test]
async fn codes_that_come_while_the_series_is_written_for_long_are_429_and_hold_no_connection() {
    let (house, iam) = house().await;
    guess(&house, &iam).await.is_problem(401, WRONG);
    let held = async {
        let lock = "SELECT pg_advisory_xact_lock(hashtextextended(
                        'bff.mfa_attempts:' || tenant_id || ':' || operator_id, 0)), pg_sleep(2)
                    FROM bff.mfa_attempts";
        house.database.run(lock).await;
    };
    let codes = async {
        let locks =
            "SELECT mode FROM pg_locks WHERE locktype = 'advisory' AND granted AND database =
                         (SELECT oid FROM pg_database WHERE datname = current_database())";
        while house.rows(locks).await.is_empty() {}
        join_all((0..40).map(|_| right(&house, &iam))).await
    };
    let ((), answers) = tokio::join!(held, codes);
    for answer in &answers {
        assert_eq!(is_locked(answer), 1);
    }
    assert_eq!(iam.asked().len(), 1, "iam compares none of them");
    assert_eq!(right(&house, &iam).await.status, 201);
}

#[tokio::test]
async fn an_iam_that_is_too_slow_costs_no_attempt() {
    let (house, iam) = house().await;
    iam.takes(Duration::from_secs(5));
    iam.attests();
    show(&house).await.is_problem(504, "MELMASTOON.BFF.UPSTREAM_TIMEOUT");
    assert_eq!(attempts(&house).await, 0);
}

#[tokio::test]
async fn an_operator_that_iam_has_locked_is_told_the_same() {
    let (house, iam) = house().await;
    let mut problem = contracts::problem::Problem::new(
        &contracts::problem::code::RATE_LIMITED,
        "iam has seen enough.",
    )
    .with_retry_after(77);
    problem.code = "MELMASTOON.IAM.MFA_LOCKED".into();
    iam.answers(429, serde_json::to_value(problem).unwrap());
    assert_eq!(is_locked(&show(&house).await), 77);
    assert_eq!(attempts(&house).await, 0);
}

#[tokio::test]
async fn an_attempt_whose_process_died_counts_like_a_wrong_code_and_like_one_only_for_the_window() {
    let (house, iam) = house().await;
    for _ in 0..5 {
        guess(&house, &iam).await.is_problem(401, WRONG);
    }
    // As if no answer of iam had been written down.
    house.database.run("UPDATE bff.mfa_attempts SET settled_at = NULL").await;
    assert_eq!(is_locked(&right(&house, &iam).await), 1, "iam may be judging them");
    age(&house, 30).await;
    assert!(is_locked(&right(&house, &iam).await) > 60, "nobody will settle them");
    age(&house, WINDOW).await;
    assert_eq!(right(&house, &iam).await.status, 201);
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_a_settled_attempt() {
    let (house, iam) = house().await;
    iam.attests();
    iam.takes(Duration::from_millis(200));
    tokio::select! {
        answer = show(&house) => panic!("nothing is answered yet: {}", answer.body),
        () = iam.called() => {}
    }
    house.gateway.lifecycle.drain().await;
    assert_eq!(attempts(&house).await, 0);
    assert_eq!(house.rows("SELECT scope FROM bff.mfa_attestations").await, ["folio.refund"]);
}

#[tokio::test]
async fn every_statement_fits_the_schema() {
    let database = migrations::test_database::TestDatabase::create(migrations::Schema::Bff).await;
    prepare_all(database.url(), &bff::statements()).await;
}
