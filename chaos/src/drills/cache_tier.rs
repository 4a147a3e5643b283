//! The cache tier is down. Every request succeeds, each instance reads from the upstreams, readiness
//! stays 200 and names the tier, and the tier is used again automatically.

use std::collections::BTreeSet;
use std::time::Duration;

use contracts::clock::Entropy;
use launcher::desktop::Call;
use tokio::time::{Instant, sleep};

use crate::drill_env::{DashboardView, DrillEnv, connect};
use crate::drill_run::{Drill, DrillFuture, DrillRun, EnvAfter, Load};
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

pub(super) struct CacheTier;

impl Drill for CacheTier {
    fn leaves(&self) -> EnvAfter {
        EnvAfter::Restarted(&["redis-cache"])
    }

    fn load(&self) -> Load {
        Load::Timed
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
    let steady =
        run.env.wait_until("a whole dashboard and a tier in use", run.objective, is_well).await;
    run.steady_within("every widget is ok and the tier holds what was read", steady);
    let (misses, failures) =
        (run.env.counter(MISSES_METRIC, &[]).await?, run.env.counter(COUNTER, &[]).await?);
    let injected_at = Instant::now();
    inject(fault, &run.env).await?;
    run.inject(format!("{fault:?} {TIER}"));
    let length = run.watch_length(alerts, WATCH_DURATION)?;
    let watching = watch(length, &run.env);
    let (during, reads) = run.raised_during(alerts, injected_at, watching).await??;
    check_user_view(run, &during);
    check_uncached_reads(run, &reads);
    check_detection(run, failures, injected_at).await?;
    let misses = run.env.counter(MISSES_METRIC, &[]).await? - misses;
    let what = "reads go to the upstreams";
    run.automatic(what, misses > 0.0, format!("{misses:.0} cache misses"));

    undo(fault, &mut run.env).await?;
    let back = run.env.wait_until("a tier in use", run.objective, is_well).await;
    let what = "the tier is used again, automatically";
    run.recover_within(what, back);
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
async fn check_detection(run: &DrillRun, before: f64, injected_at: Instant) -> anyhow::Result<()> {
    let named = async |env: &DrillEnv| {
        let ready = env.readiness(&env.stack.info().gateway).await?;
        Ok(ready == (200, vec![CHECK.to_owned()]))
    };
    let named = run.env.wait_until("the tier's check", DETECT_WITHIN, named).await;
    run.detect_within(format!("readiness is 200 and names {CHECK} as down"), named);
    let counted = run.env.counter(COUNTER, &[]).await? - before;
    run.detect(format!("{COUNTER} counts"), counted > 0.0, counted);
    run.detected_after(Some(injected_at.elapsed()));
    Ok(())
}

/// Dashboards and uncached reads.
type During = (Vec<DashboardView>, Vec<TimedResponse>);

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

fn check_uncached_reads(run: &DrillRun, reads: &[TimedResponse]) {
    let good = reads.iter().filter(|read| read.status == 200).count();
    let odd = reads.iter().find(|read| read.status != 200).map(TimedResponse::summary);
    let found = format!("{good} of {} {}", reads.len(), odd.unwrap_or_default());
    run.user("uncached reads are 200", good == reads.len() && good > 0, found.trim());
    let slowest = reads.iter().map(|read| read.took).max().unwrap_or_default();
    let found = format!("the slowest in {} ms", slowest.as_millis());
    run.user("uncached reads are in time", slowest <= ANSWER_WITHIN, found);
}

fn check_user_view(run: &DrillRun, during: &[DashboardView]) {
    let whole = during.iter().filter(|view| view.is_whole()).count();
    let not_ok: BTreeSet<_> = during.iter().flat_map(|view| &view.not_ok).collect();
    let found = format!("{whole} of {}, not ok: {not_ok:?}", during.len());
    run.user("every dashboard is whole", whole == during.len() && whole > 0, found);
    let slowest = during.iter().map(|view| view.took).max().unwrap_or_default();
    run.user_in_time(slowest, ANSWER_WITHIN);
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
