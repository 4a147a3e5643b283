//! So many proofs arrive that the session tier runs out of memory. A filter of fixed size takes over:
//! desktops keep working, no replay is accepted, and memory stays bounded.

use std::time::Duration;

use anyhow::Context;
use contracts::safeguard::Safeguard;
use redis::InfoDict;
use redis::aio::MultiplexedConnection;
use tokio::time::Instant;

use crate::attacker::{Attacker, ReplayOutcome, StolenProof};
use crate::drill_env::{DrillEnv, EnvOptions};
use crate::drill_run::{Drill, DrillFuture, DrillRun, EnvAfter, Load};
use crate::observations::Step;

const STORE_METRIC: &str = "bff_backoffice_dpop_replay_store_total";
const MEMORY_RATIO_METRIC: &str = "bff_backoffice_session_tier_memory_ratio";
const ALERTS: [&str; 2] = ["BffReplayFilterInUse", "BffSessionTierMemoryHigh"];
/// Free memory of the tier before the spike.
const FREE_BYTES: u64 = 192 * 1024;
/// Three generations of the filter plus connection buffers.
const MAX_GROWTH_BYTES: u64 = 8 * 1024 * 1024;
/// Unique proofs after which the tier must be full.
const MAX_SPIKE_PROOFS: usize = 4_000;
const CONNECTIONS: usize = 8;
/// Proofs whose replays are checked.
const SAMPLE_PROOFS: usize = 25;
const FRESH_REQUESTS: usize = 200;
/// The gateway checks the tier every 5 s.
const DETECT_WITHIN: Duration = Duration::from_secs(15);

pub(super) struct ReplayPressure;

impl Drill for ReplayPressure {
    fn environment<'a>(&self, options: EnvOptions<'a>) -> EnvOptions<'a> {
        EnvOptions { second_gateway: true, ..options }
    }

    fn leaves(&self) -> EnvAfter {
        EnvAfter::Unchanged
    }

    fn load(&self) -> Load {
        Load::Heavy
    }

    fn run<'a>(&'a self, run: &'a mut DrillRun) -> DrillFuture<'a> {
        Box::pin(run_drill(run))
    }
}

async fn run_drill(run: &mut DrillRun) -> anyhow::Result<()> {
    let mut tier = run.env.session_tier().await?;
    let limit = memory(&mut tier).await?.1;
    let steady = run.until_whole().await;
    run.steady_within("every widget is ok", steady);
    let attacker = Attacker::with(&run.env, CONNECTIONS)?;
    let before =
        check_used(run, &attacker, Step::Steady, "proofs are accepted and recorded exactly")
            .await?;

    let room = memory(&mut tier).await?.0 + FREE_BYTES;
    set_limit(&mut tier, room).await?;
    let injected_at = Instant::now();
    let sent = spike(&run.env, &attacker).await?;
    // Buffers of connections come and go: below this limit the tier stays full.
    let full = memory(&mut tier).await?.0 - FREE_BYTES / 4;
    set_limit(&mut tier, full).await?;
    let what = format!("unique proofs until {} KiB of memory are full", FREE_BYTES / 1024);
    run.check(Step::Fault, what, sent < MAX_SPIKE_PROOFS, format!("{sent} proofs"));
    check_detection(run, injected_at, &attacker).await?;
    check_user_view(run, &attacker).await?;
    let during =
        check_used(run, &attacker, Step::User, "under pressure fresh proofs are accepted").await?;
    check_replays_refused(run, Step::Automatic, "used before the pressure", &attacker, &before)
        .await;
    check_replays_refused(run, Step::Automatic, "used under pressure", &attacker, &during).await;
    let most = memory(&mut tier).await?.0;
    run.automatic(
        format!("memory stays within {} MiB of the limit", MAX_GROWTH_BYTES / 1024 / 1024),
        most < room + MAX_GROWTH_BYTES,
        format!("{} KiB above", most.saturating_sub(room) / 1024),
    );
    check_recovery(run, limit, &mut tier, &attacker).await?;
    check_replays_refused(run, Step::Recovery, "used under pressure", &attacker, &during).await;
    Ok(())
}

/// Sends fresh requests until the filter is used. Returns how many.
async fn spike(env: &DrillEnv, attacker: &Attacker<'_>) -> anyhow::Result<usize> {
    let mut sent = 0;
    while sent < MAX_SPIKE_PROOFS && proofs_filtered(env).await? < 0.5 {
        attacker.flood(&attacker.steal_proofs(FRESH_REQUESTS).await?, 1, false).await;
        sent += FRESH_REQUESTS;
        // Without the filter nothing else tells that the tier is full.
        if env.safeguards_off.contains(&Safeguard::ReplayFilter) && sent >= MAX_SPIKE_PROOFS / 2 {
            break;
        }
    }
    Ok(sent)
}

async fn check_detection(
    run: &DrillRun,
    injected_at: Instant,
    attacker: &Attacker<'_>,
) -> anyhow::Result<()> {
    let noticed = run
        .env
        .wait_until("the filter", DETECT_WITHIN, async |env| {
            attacker.send_fresh(0).await?;
            Ok(proofs_filtered(env).await? > 0.0)
        })
        .await;
    let what = format!("{STORE_METRIC} counts decisions of the filter");
    let took = run.detect_within(what, noticed).map(|_| injected_at.elapsed());
    run.detected_after(took);
    let is_full = async |env: &DrillEnv| Ok(env.metric(MEMORY_RATIO_METRIC, &[]).await? > 0.8);
    let noticed = run.env.wait_until("a full tier", DETECT_WITHIN, is_full).await;
    run.detect_within(format!("{MEMORY_RATIO_METRIC} shows that the tier is full"), noticed);
    let length = run.watch_length(&ALERTS, Duration::ZERO)?;
    let watching = run.env.watch(length, Duration::from_millis(100));
    run.raised_during(&ALERTS, injected_at, watching).await?;
    Ok(())
}

/// Checks that desktops keep working. A false positive of the filter is retried with a new proof.
async fn check_user_view(run: &DrillRun, attacker: &Attacker<'_>) -> anyhow::Result<()> {
    let (mut again, mut lost) = (0, 0);
    for number in 0..FRESH_REQUESTS {
        if attacker.send_fresh(number).await? != ReplayOutcome::Accepted {
            again += 1;
            lost += usize::from(attacker.send_fresh(number).await? != ReplayOutcome::Accepted);
        }
    }
    run.user(
        "every fresh request succeeds, at the latest with a second proof",
        lost == 0 && again <= FRESH_REQUESTS / 50,
        format!("{FRESH_REQUESTS} requests, {again} with a second proof, {lost} lost"),
    );
    let during = run.env.watch(Duration::from_secs(2), Duration::from_millis(40)).await;
    let good = during.iter().filter(|view| view.is_whole()).count();
    run.user(
        "and every dashboard is whole",
        good == during.len() && good > 0,
        format!("{good} of {}", during.len()),
    );
    Ok(())
}

async fn check_recovery(
    run: &DrillRun,
    limit: u64,
    tier: &mut MultiplexedConnection,
    attacker: &Attacker<'_>,
) -> anyhow::Result<()> {
    set_limit(tier, limit).await?;
    let exact = run
        .env
        .wait_until("an exact answer", run.objective, async |env| {
            let before = proofs_filtered(env).await?;
            let exactly = proofs_noted(env, "shared").await?;
            let fresh = [attacker.send_fresh(0).await?, attacker.send_fresh(1).await?];
            let is_let_in = fresh.iter().all(|answer| *answer == ReplayOutcome::Accepted);
            let more = proofs_filtered(env).await? - before;
            Ok(is_let_in && more < 0.5 && proofs_noted(env, "shared").await? > exactly + 1.5)
        })
        .await;
    run.recover_within("with free memory, proofs are recorded exactly", exact);
    Ok(())
}

/// Uses some proofs, half of them at each instance.
async fn check_used(
    run: &DrillRun,
    attacker: &Attacker<'_>,
    step: Step,
    expected: &str,
) -> anyhow::Result<Vec<StolenProof>> {
    let stolen = attacker.steal_proofs(SAMPLE_PROOFS).await?;
    let counts = attacker.flood(&stolen, 1, false).await;
    let held = counts.used() + 1 >= SAMPLE_PROOFS;
    run.check(step, expected, held, format!("{} of {SAMPLE_PROOFS}", counts.used()));
    Ok(stolen)
}

/// Replays each proof to both instances.
async fn check_replays_refused(
    run: &DrillRun,
    step: Step,
    what: &str,
    attacker: &Attacker<'_>,
    stolen: &[StolenProof],
) {
    let mut refused = 0;
    for one in stolen {
        for instance in 0..2 {
            refused += usize::from(attacker.send(instance, one).await == ReplayOutcome::Refused);
        }
    }
    let all = stolen.len() * 2;
    run.check(
        step,
        format!("proofs {what} are refused by both instances"),
        refused == all,
        format!("{refused} of {all}"),
    );
}

async fn proofs_filtered(env: &DrillEnv) -> anyhow::Result<f64> {
    proofs_noted(env, "filter").await
}

async fn proofs_noted(env: &DrillEnv, store: &str) -> anyhow::Result<f64> {
    env.counter_everywhere(STORE_METRIC, &[("store", store)]).await
}

/// Used bytes and the limit.
async fn memory(tier: &mut MultiplexedConnection) -> anyhow::Result<(u64, u64)> {
    let info: InfoDict = redis::cmd("INFO").arg("memory").query_async(tier).await?;
    let number = |name| info.get::<u64>(name).with_context(|| format!("INFO has no {name}"));
    Ok((number("used_memory")?, number("maxmemory")?))
}

async fn set_limit(tier: &mut MultiplexedConnection, bytes: u64) -> anyhow::Result<()> {
    let mut setting = redis::cmd("CONFIG");
    setting.arg("SET").arg("maxmemory").arg(bytes);
    Ok(setting.query_async(tier).await?)
}
