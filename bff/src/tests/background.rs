//! `GET /internal/background`: tasks and jobs with their last results.

use std::time::Duration;

use serde_json::{Value, json};
use service_kit::background::Schedule;
use tokio::time::timeout;

use crate::locks::completeness_check::CompletenessCheck;
use crate::tests::issuer::{EVENTS, FIRST, SCHEDULER};
use crate::tests::test_gateway::{TestGateway, session_url};

const PATH: &str = "/internal/background";
const SWEEP: &str = "/internal/jobs/sweep-idempotency";
/// Of the same task at an interval and as a job.
const JOB: &str = "sweep-expired-rows";

async fn task(gateway: &TestGateway, name: &str) -> Value {
    let response = gateway.account(FIRST).get(PATH).await.status(200);
    let tasks = response.body["tasks"].as_array().unwrap();
    tasks.iter().find(|task| task["name"] == name).cloned().unwrap_or_default()
}

/// The task, once its last activation ended like this.
async fn ended(gateway: &TestGateway, name: &str, outcome: &str) -> Value {
    let ended = async {
        loop {
            let task = task(gateway, name).await;
            if task["lastResult"]["outcome"] == outcome {
                return task;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), ended).await.expect("the task is activated")
}

#[tokio::test]
async fn a_task_shows_its_interval_and_its_last_result() {
    let gateway = TestGateway::open().await;
    let state = &gateway.state;
    let (database, clock) = (state.database.clone(), state.env.clock.clone());
    let schedule = Schedule::every(Duration::from_millis(50));
    let gap_age = state.lock_audit.completion_grace();
    let check = CompletenessCheck { database, clock, gap_age };
    let name = "check-lock-audit-completeness";
    state.background.start(name, check, schedule);
    let good = ended(&gateway, name, "ok").await;
    assert_eq!((&good["trigger"], &good["intervalMs"]), (&json!("interval"), &json!(50)));
    assert_eq!(good["lastResult"]["status"], json!({"actions": 0, "complete": 0}));
    assert!(good["lastStartedAt"].is_string() && good["lastDurationMs"].is_u64(), "{good}");
    gateway.database.go_away().await;
    let bad = ended(&gateway, name, "error").await;
    assert!(!bad["lastResult"]["error"].as_str().unwrap().is_empty(), "{bad}");
    gateway.database.come_back().await;
    let again = ended(&gateway, name, "ok").await;
    // The next activation may have begun before the failed one was read.
    assert!(again["activations"].as_u64() >= bad["activations"].as_u64(), "{again}");
}

#[tokio::test]
async fn a_follower_shows_how_far_it_has_read_and_its_subscription() {
    let gateway = TestGateway::open().await;
    gateway.follow(&session_url());
    let read = ended(&gateway, "follow-revocations", "ok").await;
    assert_eq!(read["lastResult"]["status"], json!({"sequence": 0}));
    // Connected: it was activated and has not ended.
    let subscription = task(&gateway, "bff:revocations").await;
    assert_eq!(
        (&subscription["activations"], &subscription["lastResult"]),
        (&json!(1), &json!(null))
    );
}

#[tokio::test]
async fn a_job_is_shown_as_started_over_http() {
    let gateway = TestGateway::open().await;
    assert_eq!(task(&gateway, JOB).await["activations"], 0, "listed before it has run");
    gateway.account(SCHEDULER).post(SWEEP).json(&json!({})).await.status(200);
    let swept = task(&gateway, JOB).await;
    assert_eq!((&swept["trigger"], &swept["activations"]), (&json!("http"), &json!(1)));
    assert_eq!(swept["lastResult"]["status"]["complete"], true, "{swept}");
    gateway.database.go_away().await;
    gateway.account(SCHEDULER).post(SWEEP).json(&json!({})).await.status(503);
    assert_eq!(task(&gateway, JOB).await["lastResult"]["outcome"], "error");
}

#[tokio::test]
async fn every_job_is_listed_once_before_and_after_it_has_run() {
    let gateway = TestGateway::open().await;
    let before = names(&gateway).await;
    assert_eq!(
        before,
        [
            "probe-tenant-isolation",
            "reconcile-cursors",
            "reconcile-locks",
            "sweep-expired-rows",
            "verify-lock-audit"
        ]
    );
    for path in [
        "probe-tenant-isolation",
        "reconcile-cursors",
        "reconcile-locks",
        "sweep-idempotency",
        "verify-lock-audit",
    ] {
        gateway.account(SCHEDULER).post(format!("/internal/jobs/{path}")).await.status(200);
    }
    assert_eq!(names(&gateway).await, before);
}

/// Names of the tasks of a gateway that only serves requests, in order.
async fn names(gateway: &TestGateway) -> Vec<String> {
    let response = gateway.account(FIRST).get(PATH).await.status(200);
    let tasks = response.body["tasks"].as_array().unwrap();
    let mut names: Vec<_> =
        tasks.iter().map(|task| task["name"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn only_operators_see_the_tasks() {
    let gateway = TestGateway::open().await;
    for account in [EVENTS, SCHEDULER] {
        let response = gateway.account(account).get(PATH).await;
        response.problem(403, "MELMASTOON.GENERAL.FORBIDDEN");
    }
}
