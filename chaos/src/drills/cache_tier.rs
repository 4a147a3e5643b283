//! The cache tier is down. Every request succeeds, each instance reads from the upstreams, readiness
//! stays 200 and names the tier, and the tier is used again automatically.

use std::collections::BTreeSet;
use std::time::Duration;

use contracts::clock::Entropy;
use launcher::desktop::Call;
use tokio::time::{Instant, sleep};

use super::Mode;
use crate::drill_env::{DashboardView, DrillEnv, connect};
use crate::observations::{Observations, Step};
use crate::timed_call::{self, TimedResponse};

const TIER: &str = "redis-cache";
const CHECK: &str = "cache-tier";
const ALERT: &str = "BffCacheTierAway";
const COUNTER: &str = "bff_backoffice_cache_tier_failure_total";
const MISSES_METRIC: &str = "bff_backoffice_cache_miss_total";
const DETECT_WITHIN: Duration = Duration::from_secs(10);
/// Long enough for the shortest freshness to expire twice, so that reads go to the upstreams.
const WATCH_DURATION: Duration = Duration::from_secs(11);
const REQUEST_PAUSE: Duration = Duration::from_millis(40);
/// The route's deadline plus connection overhead on a busy machine.
const ANSWER_WITHIN: Duration = Duration::from_millis(700);

/// Fault of the tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Keeps its connections and does not respond.
    Pause,
    Kill,
}

pub(super) async fn run(
    mode: Mode,
    objective: Duration,
    env: &mut DrillEnv,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    for fault in [Fault::Pause, Fault::Kill] {
        let alert = fault == Fault::Pause && mode == Mode::Full;
        drill_fault(fault, alert, objective, env, seen).await?;
    }
    Ok(())
}

async fn drill_fault(
    fault: Fault,
    alert: bool,
    objective: Duration,
    env: &mut DrillEnv,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let steady = env.wait_until("a whole dashboard and a tier in use", objective, is_well).await;
    seen.check_timed(Step::Steady, "every widget is ok and the tier holds what was read", steady);
    let (before, injected_at) = (env.metric(MISSES_METRIC, &[]).await?, Instant::now());
    inject(fault, env).await?;
    seen.check(Step::Fault, format!("{fault:?} {TIER}"), true, "done");
    let (during, reads) = watch_with_alert(alert.then_some(injected_at), env, seen).await?;
    check_user_view(fault, &during, seen);
    check_uncached_reads(fault, &reads, seen);
    check_detection(injected_at, env, seen).await?;
    let misses = env.metric(MISSES_METRIC, &[]).await? - before;
    let what = "reads go to the upstreams";
    seen.check(Step::Automatic, what, misses > 0.0, format!("{misses:.0} cache misses"));

    undo(fault, env).await?;
    let back = env.wait_until("a tier in use", objective, is_well).await;
    let what = format!("the tier is used again within {} s, automatically", objective.as_secs());
    let took = seen.check_timed(Step::Recovery, what, back);
    seen.recovered_after(took);
    Ok(())
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

/// Readiness names the tier and stays 200, and the failures are counted.
async fn check_detection(
    injected_at: Instant,
    env: &DrillEnv,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let named = async |env: &DrillEnv| {
        let ready = env.readiness(&env.stack.info().gateway).await?;
        Ok(ready == (200, vec![CHECK.to_owned()]))
    };
    let named = env.wait_until("the tier's check", DETECT_WITHIN, named).await;
    seen.check_timed(Step::Detection, format!("readiness is 200 and names {CHECK} as down"), named);
    let counted = env.metric(COUNTER, &[]).await?;
    seen.check(Step::Detection, format!("{COUNTER} counts"), counted > 0.0, counted);
    seen.detected_after(Some(injected_at.elapsed()));
    Ok(())
}

/// Dashboards and uncached reads.
type During = (Vec<DashboardView>, Vec<TimedResponse>);

async fn watch_with_alert(
    alert_since: Option<Instant>,
    env: &DrillEnv,
    seen: &mut Observations,
) -> anyhow::Result<During> {
    let Some(injected_at) = alert_since else { return watch(WATCH_DURATION, env).await };
    let alerts = env.alerts()?;
    let watching = watch(alerts.fire_within(&[ALERT])?, env);
    let (during, raised) = alerts.raised_during(&[ALERT], injected_at, watching).await?;
    raised.report(seen);
    during
}

async fn watch(length: Duration, env: &DrillEnv) -> anyhow::Result<During> {
    let (end, mut dashboards, mut reads) = (Instant::now() + length, Vec::new(), Vec::new());
    while Instant::now() < end {
        dashboards.push(env.dashboard().await);
        reads.push(timed_call::send(&env.desktop, &uncached_call(env)).await?);
        sleep(REQUEST_PAUSE).await;
    }
    Ok((dashboards, reads))
}

/// Requests the arrivals of a random day, which is not cached.
fn uncached_call(env: &DrillEnv) -> Call {
    let draw = |count: u128| Entropy::system().u128() % count;
    let day = format!("{}-{:02}-{:02}", 2100 + draw(7900), 1 + draw(12), 1 + draw(28));
    Call::get(format!("/arrivals?propertyId={}&date={day}", env.property))
}

fn check_uncached_reads(fault: Fault, reads: &[TimedResponse], seen: &mut Observations) {
    let good = reads.iter().filter(|read| read.status == 200).count();
    let slowest = reads.iter().map(|read| read.took).max().unwrap_or_default();
    let within = ANSWER_WITHIN.as_millis();
    let what = format!("{fault:?}: uncached reads are 200 within {within} ms");
    let found = format!("{good} of {}, the slowest in {} ms", reads.len(), slowest.as_millis());
    let held = good == reads.len() && good > 0 && slowest <= ANSWER_WITHIN;
    seen.check(Step::User, what, held, found);
}

fn check_user_view(fault: Fault, during: &[DashboardView], seen: &mut Observations) {
    let whole = during.iter().filter(|view| view.is_whole()).count();
    let what = format!("{fault:?}: every dashboard is whole");
    let not_ok: BTreeSet<_> = during.iter().flat_map(|view| &view.not_ok).collect();
    let found = format!("{whole} of {}, not ok: {not_ok:?}", during.len());
    seen.check(Step::User, what, whole == during.len() && whole > 0, found);
    let slowest = during.iter().map(|view| view.took).max().unwrap_or_default();
    let what = format!("{fault:?}: each within {} ms", ANSWER_WITHIN.as_millis());
    let found = format!("the slowest in {} ms", slowest.as_millis());
    seen.check(Step::User, what, slowest <= ANSWER_WITHIN, found);
}

/// Whether dashboards are whole, no check is down, and the tier holds new snapshots.
async fn is_well(env: &DrillEnv) -> anyhow::Result<bool> {
    let ready = env.readiness(&env.stack.info().gateway).await?;
    if !env.dashboard().await.is_whole() || ready != (200, vec![]) {
        return Ok(false);
    }
    let mut tier = connect(&env.stack.info().redis.cache.url).await?;
    let keys: Vec<String> =
        redis::cmd("KEYS").arg("snapshot:*:alerts:*").query_async(&mut tier).await?;
    Ok(!keys.is_empty())
}
