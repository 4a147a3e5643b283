//! lock-integration fails. No key is issued, the desktop gets a retriable problem, every attempt is in
//! the lock audit log with its outcome, and a repeat afterwards issues exactly one key.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::client;
use crate::drill_env::{DashboardView, DrillEnv, stand_in_fault};
use crate::drill_run::{Drill, DrillFuture, DrillRun, EnvAfter, Load};
use crate::lock_fixture::{self, LockFixture};
use crate::timed_call::{self, TimedResponse};

const ALERT: &str = "BffLockDown";
const COUNTER: &str = "bff_backoffice_lock_action_total";
const UNAVAILABLE: (u16, &str) = (502, "MELMASTOON.BFF.UPSTREAM_UNAVAILABLE");
const TIMED_OUT: (u16, &str) = (504, "MELMASTOON.BFF.UPSTREAM_TIMEOUT");
const FAULTS: [LockFault; 2] = [
    LockFault { kind: "status", outcome: "failure" },
    LockFault { kind: "hang", outcome: "unknown" },
];
const DETECT_WITHIN: Duration = Duration::from_secs(10);
/// Response time limit: the gateway's own limits plus overhead on a busy machine.
const ANSWER_WITHIN: Duration = Duration::from_millis(2500);
const WATCH_DURATION: Duration = Duration::from_secs(4);
const REQUEST_PAUSE: Duration = Duration::from_millis(200);

/// A kind of fault, and the audit phase that it leads to.
#[derive(Debug, Clone, Copy)]
struct LockFault {
    kind: &'static str,
    outcome: &'static str,
}

pub(super) struct Lock;

impl Drill for Lock {
    fn leaves(&self) -> EnvAfter {
        EnvAfter::Unchanged
    }

    fn load(&self) -> Load {
        Load::Timed
    }

    fn run<'a>(&'a self, run: &'a mut DrillRun) -> DrillFuture<'a> {
        Box::pin(run_drill(run))
    }
}

async fn run_drill(run: &mut DrillRun) -> anyhow::Result<()> {
    let lock = LockFixture::find(&run.env).await?;
    for fault in FAULTS {
        let alerts: &[_] = if fault.kind == "status" { &[ALERT] } else { &[] };
        drill_fault(run, fault, alerts, &lock).await?;
    }
    Ok(())
}

async fn drill_fault(
    run: &DrillRun,
    fault: LockFault,
    alerts: &[&'static str],
    lock: &LockFixture,
) -> anyhow::Result<()> {
    let LockFault { kind, outcome } = fault;
    let works = async |env: &DrillEnv| works(lock, env).await;
    let steady = run.env.wait_until("a key and a whole dashboard", run.objective, works).await;
    run.steady_within("a key is issued and every widget is ok", steady);
    let (before, injected_at) = (counted(outcome, &run.env).await?, Instant::now());
    run.env.add_fault(&stand_in_fault("lock", kind)).await?;
    run.inject(format!("lock-integration: {kind}"));
    let length = run.watch_length(alerts, WATCH_DURATION)?;
    let watching = watch(length, lock, &run.env);
    let during = run.raised_during(alerts, injected_at, watching).await??;
    run.detected_after(during.attempts.first().map(|(at, ..)| *at - injected_at));
    check_user_view(run, kind, &during);
    let grown = run
        .env
        .wait_until("the counter", DETECT_WITHIN, async |env| {
            Ok(counted(outcome, env).await? > before)
        })
        .await;
    run.detect_within(format!("{COUNTER} counts {outcome}"), grown);
    check_audit_log(run, &during).await?;
    run.act_by_runbook("bff-backoffice/lock-down").await?;
    let back = run.env.wait_until("a key and a whole dashboard", run.objective, works).await;
    let what = "a key is issued again, automatically";
    run.recover_within(what, back);
    check_repeat(run, lock, &during).await
}

/// Observations during the fault.
#[derive(Default)]
struct During {
    attempts: Vec<(Instant, String, TimedResponse)>,
    dashboards: Vec<DashboardView>,
}

async fn watch(length: Duration, lock: &LockFixture, env: &DrillEnv) -> anyhow::Result<During> {
    let (end, mut during) = (Instant::now() + length, During::default());
    while Instant::now() < end {
        let key = client::new_key();
        let answer = timed_call::send(&env.desktop, &lock.issue(&key)?).await?;
        during.attempts.push((Instant::now(), key, answer));
        during.dashboards.push(env.dashboard().await);
        sleep(REQUEST_PAUSE).await;
    }
    Ok(during)
}

fn check_user_view(run: &DrillRun, kind: &str, during: &During) {
    let is_expected = |answer: &TimedResponse| {
        let fitting = answer.is(UNAVAILABLE.0, UNAVAILABLE.1)
            || kind == "hang" && answer.is(TIMED_OUT.0, TIMED_OUT.1);
        fitting && answer.body["retriable"] == true
    };
    let odd = during.attempts.iter().find(|(.., answer)| !is_expected(answer));
    let found = odd.map_or_else(
        || format!("{} of them", during.attempts.len()),
        |attempt| attempt.2.summary(),
    );
    let what = "every key request is a retriable 502 or 504";
    run.user(what, odd.is_none() && !during.attempts.is_empty(), found);
    let slowest = during.attempts.iter().map(|(.., answer)| answer.took).max().unwrap_or_default();
    run.user_in_time(slowest, ANSWER_WITHIN);
    let whole = during.dashboards.iter().filter(|dashboard| dashboard.is_whole()).count();
    run.user(
        "every dashboard is whole",
        whole == during.dashboards.len(),
        format!("{whole} of {}", during.dashboards.len()),
    );
}

/// Checks that each attempt has two audit rows, and that the second matches the response.
async fn check_audit_log(run: &DrillRun, during: &During) -> anyhow::Result<()> {
    let (mut right, mut odd, ledger) =
        (0, String::new(), lock_fixture::audit_phases(&run.env).await?);
    for (_, key, answer) in &during.attempts {
        let outcome = if answer.is(TIMED_OUT.0, TIMED_OUT.1) { "unknown" } else { "failure" };
        let phases = ledger.get(key).map(Vec::as_slice).unwrap_or_default();
        if phases == ["requested", outcome] {
            right += 1;
        } else {
            odd = format!(", {} has {phases:?}", answer.summary());
        }
    }
    let all = during.attempts.len();
    let what = "each attempt has its two lock audit rows";
    run.automatic(what, right == all && all > 0, format!("{right} of {all}{odd}"));
    Ok(())
}

/// Repeats the last attempt with the same idempotency key.
async fn check_repeat(run: &DrillRun, lock: &LockFixture, during: &During) -> anyhow::Result<()> {
    let Some((_, key, _)) = during.attempts.last() else { return Ok(()) };
    let answer = timed_call::send(&run.env.desktop, &lock.issue(key)?).await?;
    let what = "a repeat with the same idempotency key issues the key";
    run.recover(what, answer.status == 201, answer.summary());
    let made = lock_fixture::keys_issued(&run.env, key).await?;
    run.recover("and only one key", made == 1, json!(made));
    let phases: Value = lock_fixture::phases_of_key(&run.env, key).await?.into();
    let what = "and the lock audit log records it";
    run.recover(what, phases[3] == "success", phases);
    Ok(())
}

/// Whether a key can be issued and the dashboard is whole.
async fn works(lock: &LockFixture, env: &DrillEnv) -> anyhow::Result<bool> {
    let answer = timed_call::send(&env.desktop, &lock.issue(&client::new_key())?).await?;
    Ok(answer.status == 201 && env.dashboard().await.is_whole())
}

async fn counted(outcome: &str, env: &DrillEnv) -> anyhow::Result<f64> {
    env.counter(COUNTER, &[("outcome", outcome)]).await
}
