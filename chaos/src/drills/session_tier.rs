//! The session tier is down. Reads succeed, changes and streams get a problem with `Retry-After`,
//! readiness names the tier, and everything recovers automatically.

use std::time::Duration;

use contracts::headers::IDEMPOTENCY_KEY;
use launcher::desktop::Call;
use launcher::secrets::random_hex;
use reqwest::Method;
use reqwest::header::RETRY_AFTER;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::attacker::{Attacker, ReplayOutcome, StolenProof};
use crate::drill_env::{DashboardView, DeviceUse, DrillEnv};
use crate::drill_run::{Drill, DrillFuture, DrillRun, EnvAfter, Load};
use crate::observations::Step;

const TIER: &str = "redis-session";
const CHECK: &str = "session-tier";
const CODE: &str = "MELMASTOON.BFF.CACHE_UNAVAILABLE";
const ALERT: &str = "BffSessionTierAway";
const DETECT_WITHIN: Duration = Duration::from_secs(10);
const WATCH_DURATION: Duration = Duration::from_secs(3);
const REQUEST_PAUSE: Duration = Duration::from_millis(40);
/// Time for which the gateway waits for a silent tier, from the first request that the tier does not
/// answer. Then the tier counts as down.
const TIER_LATE_AFTER: Duration = Duration::from_secs(1);
/// The dashboard's deadline plus the second for which a silent tier is treated as late.
const ANSWER_WITHIN: Duration = Duration::from_millis(1_700);

/// Fault of the tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Pause,
    Kill,
}

/// Response to a change or a stream.
#[derive(Debug)]
struct CallOutcome {
    status: u16,
    code: String,
    retry_after: Option<String>,
}

pub(super) struct SessionTier;

impl Drill for SessionTier {
    fn leaves(&self) -> EnvAfter {
        EnvAfter::Restarted(&["redis-session"])
    }

    fn load(&self) -> Load {
        Load::Timed
    }

    fn uses_up(&self) -> DeviceUse {
        DeviceUse { streams: 10, ..DeviceUse::default() }
    }

    fn run<'a>(&'a self, run: &'a mut DrillRun) -> DrillFuture<'a> {
        Box::pin(run_drill(run))
    }
}

async fn run_drill(run: &mut DrillRun) -> anyhow::Result<()> {
    for fault in [Fault::Pause, Fault::Kill] {
        let alerts: &[_] = if fault == Fault::Pause { &[ALERT] } else { &[] };
        drill_fault(run, fault, alerts).await?;
    }
    Ok(())
}

async fn drill_fault(
    run: &mut DrillRun,
    fault: Fault,
    alerts: &[&'static str],
) -> anyhow::Result<()> {
    let steady = run
        .env
        .wait_until("a whole dashboard, a stream and a change", run.objective, is_well)
        .await;
    run.steady_within("every widget is ok, streams open and changes arrive", steady);
    let used = Attacker::with(&run.env, 1)?.steal_proof().await?;
    let first = Attacker::with(&run.env, 1)?.send(0, &used).await;
    run.steady("a proof is accepted", first == ReplayOutcome::Accepted, format!("{first:?}"));
    let injected_at = Instant::now();
    inject(fault, &run.env).await?;
    run.inject(format!("{fault:?} {TIER}"));
    let noticed = run.env.wait_until("the tier's check", DETECT_WITHIN, is_noticed).await;
    let what = format!("readiness is 503 and names {CHECK}");
    let took = run.detect_within(what, noticed);
    run.detected_after(took);
    check_user_view(run, alerts, injected_at).await?;
    check_refused(run, &used, Step::Automatic, "a replay is refused without the tier").await?;
    undo(fault, &mut run.env).await?;
    let back = run
        .env
        .wait_until("a whole dashboard, a stream and a change", run.objective, is_well)
        .await;
    let what = "streams open and changes arrive again, automatically";
    run.recover_within(what, back);
    let ready = run.env.wait_until("readiness", run.objective, is_ready).await;
    run.recover_within("the gateway is ready", ready);
    check_refused(run, &used, Step::Recovery, "and the replay is still refused").await
}

async fn inject(fault: Fault, env: &DrillEnv) -> anyhow::Result<()> {
    let tier = env.stack.process(TIER)?;
    match fault {
        Fault::Pause => tier.pause().await,
        Fault::Kill => tier.kill().await,
    }
}

async fn undo(fault: Fault, env: &mut DrillEnv) -> anyhow::Result<()> {
    match fault {
        Fault::Pause => env.stack.process(TIER)?.resume().await,
        Fault::Kill => env.stack.restart(TIER).await.map(drop),
    }
}

async fn check_user_view(
    run: &DrillRun,
    alerts: &[&'static str],
    injected_at: Instant,
) -> anyhow::Result<()> {
    let length = run.watch_length(alerts, WATCH_DURATION)?;
    let watching = watch(length, &run.env);
    let (dashboards, outcomes) = run.raised_during(alerts, injected_at, watching).await?;
    let away = dashboards.first().map(|first| first.at + TIER_LATE_AFTER);
    let good = |dashboard: &&DashboardView| {
        // While the edge waits for the tier, the own widget's deadline of 100 ms passes.
        let comes = dashboard.status == Some(200);
        comes && (Some(dashboard.at) < away || dashboard.upstream_widgets_not_ok().is_empty())
    };
    let good = dashboards.iter().filter(good).count();
    let whole = dashboards.iter().filter(|dashboard| dashboard.is_whole()).count();
    run.user(
        "every dashboard is 200, and whole once the tier counts as down",
        good == dashboards.len() && whole > 0,
        format!("{good} of {}, {whole} whole", dashboards.len()),
    );
    let slowest = dashboards.iter().map(|dashboard| dashboard.took).max().unwrap_or_default();
    run.user_in_time(slowest, ANSWER_WITHIN);
    for (what, outcomes) in ["stream", "change"].into_iter().zip(&outcomes) {
        let is_right = |outcome: &&CallOutcome| {
            outcome.status == 503 && outcome.code == CODE && outcome.retry_after.is_some()
        };
        let good = outcomes.iter().filter(is_right).count();
        run.user(
            format!("every {what} is 503 {CODE} with Retry-After"),
            good == outcomes.len() && good > 0,
            format!("{good} of {}: {:?}", outcomes.len(), outcomes.first()),
        );
    }
    Ok(())
}

/// Dashboards, and the responses to streams and changes.
async fn watch(length: Duration, env: &DrillEnv) -> (Vec<DashboardView>, [Vec<CallOutcome>; 2]) {
    let (end, mut dashboards, mut outcomes) = (Instant::now() + length, vec![], [vec![], vec![]]);
    while Instant::now() < end {
        dashboards.push(env.dashboard().await);
        outcomes[0].extend(stream(env).await.ok());
        outcomes[1].extend(change(env).await.ok());
        sleep(REQUEST_PAUSE).await;
    }
    (dashboards, outcomes)
}

/// Opens and closes a stream.
async fn stream(env: &DrillEnv) -> anyhow::Result<CallOutcome> {
    send_call(env, &Call { within: None, ..Call::get("/sse/stream") }).await
}

/// Checks in an unknown reservation. Normally reservation-service responds with 404.
async fn change(env: &DrillEnv) -> anyhow::Result<CallOutcome> {
    let path = "/reservations/rsv_01K0000000000000000000000A/check-in";
    let mut call = Call { json: Some(json!({})), ..Call::new(Method::POST, path) };
    call.headers.insert(IDEMPOTENCY_KEY, random_hex(16).parse()?);
    send_call(env, &call).await
}

async fn send_call(env: &DrillEnv, call: &Call) -> anyhow::Result<CallOutcome> {
    let answer = timeout(Duration::from_secs(5), env.desktop.send(call)).await??;
    let status = answer.status().as_u16();
    let retry_after = answer.headers().get(RETRY_AFTER);
    let retry_after = retry_after.and_then(|after| after.to_str().ok()).map(str::to_owned);
    let body: Value = if status == 200 { Value::Null } else { answer.json().await? };
    let code = body["code"].as_str().unwrap_or_default().to_owned();
    Ok(CallOutcome { status, code, retry_after })
}

async fn check_refused(
    run: &DrillRun,
    stolen: &StolenProof,
    step: Step,
    expected: &str,
) -> anyhow::Result<()> {
    let answer = Attacker::with(&run.env, 1)?.send(0, stolen).await;
    run.check(step, expected, answer == ReplayOutcome::Refused, format!("{answer:?}"));
    Ok(())
}

/// Whether dashboards are whole, streams open, and changes reach their service.
async fn is_well(env: &DrillEnv) -> anyhow::Result<bool> {
    // The stream last: a device may open only ten a minute.
    Ok(env.dashboard().await.is_whole()
        && change(env).await.is_ok_and(|outcome| outcome.status == 404)
        && stream(env).await.is_ok_and(|outcome| outcome.status == 200))
}

async fn is_noticed(env: &DrillEnv) -> anyhow::Result<bool> {
    let (status, down) = env.readiness(&env.stack.info().gateway).await?;
    Ok(status == 503 && down == [CHECK])
}

async fn is_ready(env: &DrillEnv) -> anyhow::Result<bool> {
    Ok(env.readiness(&env.stack.info().gateway).await?.0 == 200)
}
