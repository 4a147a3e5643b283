//! Second factors on real processes: two gateway instances count wrong codes together, and a slow iam
//! does not affect other requests.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use chaos::drill_env::{DrillEnv, EnvOptions};
use chaos::timed_call::{REFUND_SCOPE, TimedResponse, send, step_up_at};
use contracts::clock::Clock;
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use launcher::desktop::{Call, Desktop};
use launcher::progress::Progress;
use launcher::stack_info::{Operator, StackInfo};
use serde_json::json;
use tokio::time::Duration;

const LOCKED: &str = "MELMASTOON.BFF.MFA_LOCKED";
const CODE_INVALID: &str = "MELMASTOON.IAM.MFA_CODE_INVALID";
/// Never a valid code, because codes have six digits.
const NO_CODE: &str = "00000000";
const GUESSES: usize = 400;
const CONCURRENT_STEP_UPS: usize = 40;

/// One stack for both tests, which do not affect each other.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_codes_lock_everywhere_and_a_slow_iam_holds_up_nobody_else() {
    let folder = DrillEnv::folder("tests").join("step-up");
    // Wrong codes of an earlier run still count.
    let _ = std::fs::remove_dir_all(&folder);
    let options = EnvOptions::new(folder);
    let options = EnvOptions { second_gateway: true, ..options };
    let env = DrillEnv::open(options, &Progress::quiet()).await.unwrap();
    let whole = async |env: &DrillEnv| Ok(env.dashboard().await.is_whole());
    env.wait_until("a whole dashboard", Duration::from_secs(20), whole).await.unwrap();
    a_slow_iam_holds_up_nobody_else(&env).await;
    five_of_many_wrong_codes_are_compared(&env).await;
    env.close().await.unwrap();
}

/// Opens the operator's desktop at each instance.
fn at_each_instance(env: &DrillEnv, operator: &Operator) -> Vec<Desktop> {
    let open = |gateway| {
        let info = StackInfo { gateway, ..env.stack.info().clone() };
        let folder = env.folder.join("desktop");
        Desktop::open(&info, &operator.username, &folder, Clock::system()).unwrap()
    };
    env.gateways().into_iter().map(open).collect()
}

async fn five_of_many_wrong_codes_are_compared(env: &DrillEnv) {
    let desktops = at_each_instance(env, env.desktop.operator());
    for desktop in &desktops {
        assert_eq!(send(desktop, &Call::get("/session")).await.unwrap().status, 200);
    }
    let guesses = stream::iter(0..GUESSES)
        .map(|number| step_up_at(&desktops[number % desktops.len()], REFUND_SCOPE, NO_CODE))
        .buffer_unordered(CONCURRENT_STEP_UPS);
    let answers: Vec<TimedResponse> = guesses.map(Result::unwrap).collect().await;
    let wrong = answers.iter().filter(|answer| answer.is(401, CODE_INVALID)).count();
    let locked = answers.iter().filter(|answer| answer.is(429, LOCKED)).count();
    let odd =
        answers.iter().find(|answer| !answer.is(401, CODE_INVALID) && !answer.is(429, LOCKED));
    assert_eq!((wrong, locked), (5, GUESSES - 5), "{:?}", odd.map(TimedResponse::summary));
    for desktop in &desktops {
        for code in env.desktop.codes().unwrap() {
            let answer = step_up_at(desktop, REFUND_SCOPE, &code).await.unwrap();
            assert!(answer.is(429, LOCKED), "{}", answer.summary());
            assert!(answer.body["retryAfter"].as_u64().unwrap() > 60, "{}", answer.body);
        }
    }
    let lockouts = env.counter_everywhere("bff_backoffice_mfa_lockouts_total", &[]).await.unwrap();
    assert!((lockouts - 1.0).abs() < f64::EPSILON, "{lockouts}");
}

/// Sends 40 step-ups of one operator while an operator of another hotel sends changes.
async fn a_slow_iam_holds_up_nobody_else(env: &DrillEnv) {
    let route = "POST /api/v1/auth/mfa/attest";
    let slow = json!({"upstream": "iam", "route": route, "kind": "latency", "ms": 300});
    let changes = Changes::of(env).await;
    let control = changes.send(16).await;
    assert!(control.iter().all(is_untouched), "{:?}", summaries(&control));
    env.add_fault(&slow).await.unwrap();
    // Not the operator whose codes the other test guesses: 39 of these codes are wrong, being used.
    let own = env.desktop.operator();
    let is_colleague = |operator: &&Operator| {
        operator.tenant_id == own.tenant_id && operator.username != own.username
    };
    let colleague = env.stack.info().operators.iter().find(is_colleague).unwrap();
    let desktop = at_each_instance(env, colleague).remove(0);
    assert_eq!(send(&desktop, &Call::get("/session")).await.unwrap().status, 200);
    let [code, ..] = desktop.codes().unwrap();
    let step_ups =
        join_all((0..CONCURRENT_STEP_UPS).map(|_| step_up_at(&desktop, REFUND_SCOPE, &code)));
    let (step_ups, changed) = tokio::join!(step_ups, changes.send(16));
    env.clear_faults().await.unwrap();
    assert!(changed.iter().all(is_untouched), "{:?}", summaries(&changed));
    let responses = step_ups.into_iter().map(Result::unwrap);
    let held: Vec<TimedResponse> = responses.filter(|answer| answer.status == 503).collect();
    assert!(held.is_empty(), "{:?}", summaries(&held));
}

/// Changes of another hotel without a second factor: check-ins of unknown reservations, which
/// reservation-service refuses after the gateway claimed the idempotency key.
struct Changes(Desktop);

impl Changes {
    async fn of(env: &DrillEnv) -> Self {
        let own = env.desktop.operator();
        let operators = &env.stack.info().operators;
        let is_other = |operator: &&Operator| {
            operator.tenant_id != own.tenant_id
                && operator.roles.iter().any(|role| role == "property.gm")
        };
        let other = operators.iter().find(is_other).unwrap();
        let desktop = at_each_instance(env, other).remove(0);
        assert_eq!(send(&desktop, &Call::get("/session")).await.unwrap().status, 200);
        Self(desktop)
    }

    async fn send(&self, number: usize) -> Vec<TimedResponse> {
        let change = |number: usize| {
            let path = format!("/reservations/rsv_01K00000000000000000000{number:03}/check-in");
            let key = chaos::client::new_key();
            chaos::client::change(path, &key, json!({})).unwrap()
        };
        let calls: Vec<Call> = (0..number).map(change).collect();
        let mut answers = Vec::new();
        for call in &calls {
            answers.push(send(&self.0, call).await.unwrap());
        }
        answers
    }
}

/// Whether the change reached reservation-service, which refused it.
fn is_untouched(answer: &TimedResponse) -> bool {
    answer.status == 404
}

fn summaries(answers: &[TimedResponse]) -> Vec<String> {
    answers.iter().map(TimedResponse::summary).collect()
}
