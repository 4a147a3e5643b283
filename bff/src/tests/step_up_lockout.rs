//! Wrong codes are counted for each operator, in Postgres, across devices and instances, and lock the
//! second factor.

use std::time::Duration;

use contracts::id::{DeviceId, FolioId, OperatorId, TenantId};
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use serde_json::json;

use crate::tests::iam::{Iam, gateway};
use crate::tests::test_gateway::{TestGateway, TestResponse, fresh};

const STEP_UP: &str = "/api/bff/backoffice/v1/auth/mfa/step-up";
const WRONG: &str = "MELMASTOON.IAM.MFA_CODE_INVALID";
const LOCKED: &str = "MELMASTOON.BFF.MFA_LOCKED";
const WINDOW: u64 = 15 * 60;

async fn show(gateway: &TestGateway) -> TestResponse {
    let body = json!({"method": "totp", "code": "123456", "scope": "folio.refund",
                      "resource": fresh::<FolioId>()});
    gateway.post(STEP_UP).json(&body).await
}

/// A wrong code.
async fn guess(gateway: &TestGateway, iam: &Iam) -> TestResponse {
    iam.refuses(401, WRONG);
    show(gateway).await
}

async fn right(gateway: &TestGateway, iam: &Iam) -> TestResponse {
    iam.attests();
    show(gateway).await
}

#[track_caller]
fn is_locked(response: TestResponse) -> u64 {
    let response = response.problem(429, LOCKED);
    assert_eq!(response.body["runbook"], "bff-backoffice/mfa-locked");
    let seconds: u64 = response.header("retry-after").parse().unwrap();
    assert_eq!(response.body["retryAfter"], seconds);
    seconds
}

/// Moves every attempt into the past.
async fn age(gateway: &TestGateway, seconds: u64) {
    let sql = format!(
        "UPDATE bff.mfa_attempts SET reserved_at = reserved_at - interval '{seconds} seconds',
                                     settled_at = settled_at - interval '{seconds} seconds'"
    );
    gateway.database.run(&sql).await;
}

async fn attempts(gateway: &TestGateway) -> usize {
    gateway.database.rows("SELECT attempt_id FROM bff.mfa_attempts").await.len()
}

#[tokio::test]
async fn after_five_wrong_codes_every_code_is_429_right_or_wrong_until_the_window_ends() {
    let (gateway, iam) = gateway().await;
    for _ in 0..5 {
        guess(&gateway, &iam).await.problem(401, WRONG);
    }
    for response in [guess(&gateway, &iam).await, right(&gateway, &iam).await] {
        let seconds = is_locked(response);
        assert!((WINDOW - 60..=WINDOW).contains(&seconds), "{seconds}");
    }
    assert_eq!(iam.requests().len(), 5, "iam compares no more");
    age(&gateway, WINDOW - 60).await;
    assert!(is_locked(right(&gateway, &iam).await) <= 60);
    age(&gateway, 60).await;
    right(&gateway, &iam).await.status(201);
    assert_eq!(attempts(&gateway).await, 0);
}

#[tokio::test]
async fn a_right_code_ends_the_series() {
    let (gateway, iam) = gateway().await;
    for _ in 0..3 {
        for _ in 0..4 {
            guess(&gateway, &iam).await.problem(401, WRONG);
        }
        right(&gateway, &iam).await.status(201);
    }
    assert_eq!(attempts(&gateway).await, 0);
}

#[tokio::test]
async fn the_count_is_the_operators_at_every_device_and_instance_and_nobody_elses() {
    let (gateway, iam) = gateway().await;
    let mut elsewhere = gateway.another();
    (elsewhere.device, elsewhere.session) = (fresh::<DeviceId>(), fresh());
    for _ in 0..2 {
        guess(&gateway, &iam).await.problem(401, WRONG);
        guess(&elsewhere, &iam).await.problem(401, WRONG);
    }
    guess(&gateway, &iam).await.problem(401, WRONG);
    for fixture in [&gateway, &elsewhere] {
        is_locked(right(fixture, &iam).await);
    }
    (elsewhere.operator, elsewhere.session) = (fresh::<OperatorId>(), fresh());
    assert_eq!(right(&elsewhere, &iam).await.status, 201, "a colleague");
    (elsewhere.operator, elsewhere.tenant, elsewhere.session) =
        (gateway.operator, fresh::<TenantId>(), fresh());
    assert_eq!(right(&elsewhere, &iam).await.status, 201, "the same id in another tenant");
}

#[tokio::test]
async fn of_many_wrong_codes_at_once_on_two_instances_iam_compares_five() {
    let (gateway, iam) = gateway().await;
    let another = gateway.another();
    let instances = [gateway, another];
    for instance in &instances {
        assert_eq!(right(instance, &iam).await.status, 201, "what is made once is made before");
    }
    let before = iam.requests().len();
    iam.refuses(401, WRONG);
    let guesses = stream::iter(0..200).map(|number| show(&instances[number % 2]));
    // More at once than iam may compare, and no more than this machine serves within iam's time.
    let responses: Vec<_> = guesses.buffer_unordered(16).collect().await;
    let wrong = responses.iter().filter(|response| response.status == 401).count();
    assert_eq!((wrong, iam.requests().len() - before), (5, 5));
    for response in responses.into_iter().filter(|response| response.status != 401) {
        is_locked(response);
    }
    iam.attests();
    assert!(is_locked(show(&instances[0]).await) > 60);
}

#[tokio::test]
async fn an_iam_that_checks_no_code_costs_no_attempt() {
    let (gateway, iam) = gateway().await;
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
            assert_ne!(show(&gateway).await.body["code"], LOCKED, "{status} {code}");
        }
        assert_eq!(attempts(&gateway).await, 0, "{status} {code}");
    }
    iam.answers(200, json!({"verified": true}));
    show(&gateway).await.problem(502, "MELMASTOON.BFF.SCHEMA_DRIFT");
    assert_eq!(attempts(&gateway).await, 0);
}

#[tokio::test]
async fn codes_that_come_while_the_series_is_written_for_long_are_429_and_hold_no_connection() {
    let (gateway, iam) = gateway().await;
    guess(&gateway, &iam).await.problem(401, WRONG);
    let held = async {
        let lock = "SELECT pg_advisory_xact_lock(hashtextextended(
                        'bff.mfa_attempts:' || tenant_id || ':' || operator_id, 0)), pg_sleep(2)
                    FROM bff.mfa_attempts";
        gateway.database.run(lock).await;
    };
    let codes = async {
        let locks =
            "SELECT mode FROM pg_locks WHERE locktype = 'advisory' AND granted AND database =
                         (SELECT oid FROM pg_database WHERE datname = current_database())";
        while gateway.database.rows(locks).await.is_empty() {}
        join_all((0..40).map(|_| right(&gateway, &iam))).await
    };
    let ((), responses) = tokio::join!(held, codes);
    for response in responses {
        assert_eq!(is_locked(response), 1);
    }
    assert_eq!(iam.requests().len(), 1, "iam compares none of them");
    right(&gateway, &iam).await.status(201);
}

#[tokio::test]
async fn an_iam_that_is_too_slow_costs_no_attempt() {
    let (gateway, iam) = gateway().await;
    iam.takes(Duration::from_secs(5));
    iam.attests();
    show(&gateway).await.problem(504, "MELMASTOON.BFF.UPSTREAM_TIMEOUT");
    assert_eq!(attempts(&gateway).await, 0);
}

#[tokio::test]
async fn an_operator_locked_by_iam_gets_the_same_response() {
    let (gateway, iam) = gateway().await;
    let mut problem = contracts::problem::Problem::new(
        &contracts::problem::code::RATE_LIMITED,
        "iam has seen enough.",
    )
    .with_retry_after(77);
    problem.code = "MELMASTOON.IAM.MFA_LOCKED".into();
    iam.answers(429, serde_json::to_value(problem).unwrap());
    assert_eq!(is_locked(show(&gateway).await), 77);
    assert_eq!(attempts(&gateway).await, 0);
}

#[tokio::test]
async fn an_attempt_whose_process_died_counts_like_a_wrong_code_and_like_one_only_for_the_window() {
    let (gateway, iam) = gateway().await;
    for _ in 0..5 {
        guess(&gateway, &iam).await.problem(401, WRONG);
    }
    // As if no response of iam had been written down.
    gateway.database.run("UPDATE bff.mfa_attempts SET settled_at = NULL").await;
    assert_eq!(is_locked(right(&gateway, &iam).await), 1, "iam may be judging them");
    age(&gateway, 30).await;
    assert!(is_locked(right(&gateway, &iam).await) > 60, "they are never settled");
    age(&gateway, WINDOW).await;
    right(&gateway, &iam).await.status(201);
}

#[tokio::test]
async fn a_disconnect_leaves_a_settled_attempt() {
    let (gateway, iam) = gateway().await;
    iam.attests();
    iam.takes(Duration::from_millis(200));
    tokio::select! {
        response = show(&gateway) => panic!("nothing is answered yet: {}", response.body),
        () = iam.called() => {}
    }
    gateway.state.lifecycle.drain().await;
    assert_eq!(attempts(&gateway).await, 0);
    assert_eq!(
        gateway.database.rows("SELECT scope FROM bff.mfa_attestations").await,
        ["folio.refund"]
    );
}

#[tokio::test]
async fn codes_beyond_those_that_a_slow_iam_checks_are_not_called_wrong() {
    let (gateway, iam) = gateway().await;
    assert_eq!(right(&gateway, &iam).await.status, 201, "what is made once is made before");
    // Less than the gateway waits.
    iam.takes(Duration::from_millis(400));
    let responses = join_all((0..16).map(|_| right(&gateway, &iam))).await;
    let refused: Vec<_> = responses.into_iter().filter(|response| response.status == 429).collect();
    assert!(!refused.is_empty());
    for response in refused {
        let text = format!("{} {}", response.body["title"], response.body["detail"]);
        assert!(!text.contains("wrong"), "{text}");
        assert_eq!(is_locked(response), 1);
    }
    iam.takes(Duration::ZERO);
    right(&gateway, &iam).await.status(201);
    let before = iam.requests().len();
    for _ in 0..5 {
        guess(&gateway, &iam).await.problem(401, WRONG);
    }
    let response = right(&gateway, &iam).await.problem(429, LOCKED);
    assert!(response.body["detail"].as_str().unwrap().contains("wrong codes"), "{}", response.body);
    assert_eq!(iam.requests().len() - before, 5);
}
