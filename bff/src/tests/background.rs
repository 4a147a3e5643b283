//! `GET /internal/background`: tasks and jobs with their last results.

use std::time::Duration;

use crate::locks::completeness_check::CompletenessCheck;
use serde_json::{Value, json};
use service_kit::background::Schedule;
use tokio::time::timeout;

use crate::tests::internal::Guarded;
use crate::tests::issuer::{EVENTS, FIRST, SCHEDULER};
use crate::tests::test_gateway::session_url;

const PATH: &str = "/internal/background";
const SWEEP: &str = "/internal/jobs/sweep-idempotency";

async fn task(guarded: &Guarded, name: &str) -> Value {
    let answer = guarded.get(PATH, FIRST).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let tasks = answer.body["tasks"].as_array().unwrap();
    tasks.iter().find(|task| task["name"] == name).cloned().unwrap_or_default()
}

/// The task, once its last activation ended like this.
async fn ended(guarded: &Guarded, name: &str, outcome: &str) -> Value {
    let ended = async {
        loop {
            let task = task(guarded, name).await;
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
    let guarded = Guarded::open().await;
    let state = &guarded.gateway.state;
    let (database, clock) = (state.database.clone(), state.env.clock.clone());
    let schedule = Schedule::every(Duration::from_millis(50));
    state.background.start(CompletenessCheck { database, clock }, schedule);
    let name = "check-lock-audit-completeness";
    let good = ended(&guarded, name, "ok").await;
    assert_eq!((&good["trigger"], &good["intervalMs"]), (&json!("interval"), &json!(50)));
    assert_eq!(good["lastResult"]["status"], json!({"actions": 0, "complete": 0}));
    assert!(good["lastStartedAt"].is_string() && good["lastDurationMs"].is_u64(), "{good}");
    guarded.gateway.database.go_away().await;
    let bad = ended(&guarded, name, "error").await;
    assert!(!bad["lastResult"]["error"].as_str().unwrap().is_empty(), "{bad}");
    guarded.gateway.database.come_back().await;
    let again = ended(&guarded, name, "ok").await;
    assert!(again["activations"].as_u64() > bad["activations"].as_u64(), "{again}");
}

#[tokio::test]
async fn a_follower_shows_how_far_it_has_read_and_its_subscription() {
    let guarded = Guarded::open().await;
    guarded.gateway.follow(&session_url());
    let read = ended(&guarded, "follow-revocations", "ok").await;
    assert_eq!(read["lastResult"]["status"], json!({"sequence": 0}));
    // Connected: it was activated and has not ended.
    let subscription = task(&guarded, "bff:revocations").await;
    assert_eq!(
        (&subscription["activations"], &subscription["lastResult"]),
        (&json!(1), &json!(null))
    );
}

#[tokio::test]
async fn a_job_is_shown_as_started_over_http() {
    let guarded = Guarded::open().await;
    assert_eq!(task(&guarded, "sweep-idempotency").await, Value::Null, "it has not run");
    guarded.post(SWEEP, Some(SCHEDULER), &json!({})).await;
    let swept = task(&guarded, "sweep-idempotency").await;
    assert_eq!((&swept["trigger"], &swept["activations"]), (&json!("http"), &json!(1)));
    assert_eq!(swept["lastResult"]["status"]["complete"], true, "{swept}");
    guarded.gateway.database.go_away().await;
    guarded.post(SWEEP, Some(SCHEDULER), &json!({})).await;
    assert_eq!(task(&guarded, "sweep-idempotency").await["lastResult"]["outcome"], "error");
}

#[tokio::test]
async fn only_operators_see_the_tasks() {
    let guarded = Guarded::open().await;
    for account in [EVENTS, SCHEDULER] {
        let answer = guarded.get(PATH, account).await;
        answer.is_problem(403, "MELMASTOON.GENERAL.FORBIDDEN");
    }
}
