//! lock-integration fails. No key is issued, the desktop gets a retriable problem, every attempt is in
//! the lock audit log with its outcome, and a repeat afterwards issues exactly one key.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::Mode;
use crate::client;
use crate::drill_env::{DashboardView, DrillEnv, stand_in_fault};
use crate::lock_fixture::{self, LockFixture};
use crate::observations::{Observations, Step};
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

pub(super) async fn run(
    mode: Mode,
    objective: Duration,
    env: &mut DrillEnv,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let lock = LockFixture::find(env).await?;
    for fault in FAULTS {
        let alert = fault.kind == "status" && mode == Mode::Full;
        drill_fault(fault, alert, &lock, objective, env, seen).await?;
    }
    Ok(())
}

async fn drill_fault(
    fault: LockFault,
    alert: bool,
    lock: &LockFixture,
    objective: Duration,
    env: &DrillEnv,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let LockFault { kind, outcome } = fault;
    let works = async |env: &DrillEnv| works(lock, env).await;
    let steady = env.wait_until("a key and a whole dashboard", objective, works).await;
    seen.check_timed(Step::Steady, "a key is issued and every widget is ok", steady);
    let (before, injected_at) = (counted(outcome, env).await?, Instant::now());
    env.add_fault(&stand_in_fault("lock", kind)).await?;
    seen.check(Step::Fault, format!("lock-integration: {kind}"), true, "done");
    let during = watch_with_alert(alert.then_some(injected_at), lock, env, seen).await?;
    seen.detected_after(during.attempts.first().map(|(at, ..)| *at - injected_at));
    check_user_view(kind, &during, seen);
    let grown = env
        .wait_until("the counter", DETECT_WITHIN, async |env| {
            Ok(counted(outcome, env).await? > before)
        })
        .await;
    seen.check_timed(Step::Detection, format!("{COUNTER} counts {outcome}"), grown);
    check_audit_log(kind, &during, env, seen).await?;
    env.clear_faults().await?;
    let back = env.wait_until("a key and a whole dashboard", objective, works).await;
    let what = format!("a key is issued again within {} s, automatically", objective.as_secs());
    let took = seen.check_timed(Step::Recovery, what, back);
    seen.recovered_after(took);
    check_repeat(lock, &during, env, seen).await
}

/// Observations during the fault.
#[derive(Default)]
struct During {
    attempts: Vec<(Instant, String, TimedResponse)>,
    dashboards: Vec<DashboardView>,
}

async fn watch_with_alert(
    alert_since: Option<Instant>,
    lock: &LockFixture,
    env: &DrillEnv,
    seen: &mut Observations,
) -> anyhow::Result<During> {
    let Some(injected_at) = alert_since else {
        return watch(WATCH_DURATION, lock, env).await;
    };
    let alerts = env.alerts()?;
    let watching = watch(alerts.fire_within(&[ALERT])?, lock, env);
    let (given, raised) = alerts.raised_during(&[ALERT], injected_at, watching).await?;
    raised.report(seen);
    given
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

fn check_user_view(kind: &str, during: &During, seen: &mut Observations) {
    let is_expected = |answer: &TimedResponse| {
        let fitting = answer.is(UNAVAILABLE.0, UNAVAILABLE.1)
            || kind == "hang" && answer.is(TIMED_OUT.0, TIMED_OUT.1);
        fitting && answer.body["retriable"] == true && answer.took <= ANSWER_WITHIN
    };
    let odd = during.attempts.iter().find(|(.., answer)| !is_expected(answer));
    let also = if kind == "hang" { ", or 504 UPSTREAM_TIMEOUT" } else { "" };
    seen.check(
        Step::User,
        format!(
            "{kind}: every key request is a retriable 502{also} within {} ms",
            ANSWER_WITHIN.as_millis()
        ),
        odd.is_none() && !during.attempts.is_empty(),
        odd.map_or_else(
            || format!("{} of them", during.attempts.len()),
            |attempt| attempt.2.summary(),
        ),
    );
    let whole = during.dashboards.iter().filter(|dashboard| dashboard.is_whole()).count();
    seen.check(
        Step::User,
        format!("{kind}: every dashboard is whole"),
        whole == during.dashboards.len(),
        format!("{whole} of {}", during.dashboards.len()),
    );
}

/// Checks that each attempt has two audit rows, and that the second matches the response.
async fn check_audit_log(
    kind: &str,
    during: &During,
    env: &DrillEnv,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let (mut right, mut odd, ledger) = (0, String::new(), lock_fixture::audit_phases(env).await?);
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
    let what = format!("{kind}: each attempt has its two lock audit rows");
    seen.check(Step::Automatic, what, right == all && all > 0, format!("{right} of {all}{odd}"));
    Ok(())
}

/// Repeats the last attempt with the same idempotency key.
async fn check_repeat(
    lock: &LockFixture,
    during: &During,
    env: &DrillEnv,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let Some((_, key, _)) = during.attempts.last() else { return Ok(()) };
    let answer = timed_call::send(&env.desktop, &lock.issue(key)?).await?;
    let what = "a repeat with the same idempotency key issues the key";
    seen.check(Step::Recovery, what, answer.status == 201, answer.summary());
    let made = lock_fixture::keys_issued(env, key).await?;
    seen.check(Step::Recovery, "and only one key", made == 1, json!(made));
    let phases: Value = lock_fixture::phases_of_key(env, key).await?.into();
    let what = "and the lock audit log records it";
    seen.check(Step::Recovery, what, phases[3] == "success", phases);
    Ok(())
}

/// Whether a key can be issued and the dashboard is whole.
async fn works(lock: &LockFixture, env: &DrillEnv) -> anyhow::Result<bool> {
    let answer = timed_call::send(&env.desktop, &lock.issue(&client::new_key())?).await?;
    Ok(answer.status == 201 && env.dashboard().await.is_whole())
}

async fn counted(outcome: &str, env: &DrillEnv) -> anyhow::Result<f64> {
    env.metric(COUNTER, &[("outcome", outcome)]).await
}
