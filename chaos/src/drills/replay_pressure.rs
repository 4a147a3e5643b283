//! So many proofs arrive that the session tier runs out of memory. A filter of fixed size takes over:
//! desktops keep working, no replay is accepted, and memory stays bounded.

use std::time::Duration;

use anyhow::Context;
use contracts::safeguard::Safeguard;
use redis::InfoDict;
use redis::aio::MultiplexedConnection;
use tokio::time::Instant;

use super::Mode;
use crate::attacker::{Attacker, ReplayOutcome, StolenProof};
use crate::drill_env::{DashboardView, DrillEnv};
use crate::observations::{Observations, Step};

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

pub(super) async fn run(
    mode: Mode,
    objective: Duration,
    env: &mut DrillEnv,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let env = &*env;
    let mut tier = env.session_tier().await?;
    let limit = memory(&mut tier).await?.1;
    let steady = env.wait_until("a whole dashboard", objective, is_whole).await;
    seen.check_timed(Step::Steady, "every widget is ok", steady);
    let attacker = Attacker::with(env, CONNECTIONS)?;
    let before =
        check_used(&attacker, Step::Steady, "proofs are accepted and recorded exactly", seen)
            .await?;

    let room = memory(&mut tier).await?.0 + FREE_BYTES;
    set_limit(&mut tier, room).await?;
    let injected_at = Instant::now();
    let sent = spike(env, &attacker).await?;
    let what = format!("unique proofs until {} KiB of memory are full", FREE_BYTES / 1024);
    seen.check(Step::Fault, what, sent < MAX_SPIKE_PROOFS, format!("{sent} proofs"));
    check_detection(mode, injected_at, env, &attacker, seen).await?;
    check_user_view(env, &attacker, seen).await?;
    let during =
        check_used(&attacker, Step::User, "under pressure fresh proofs are accepted", seen).await?;
    check_replays_refused(Step::Automatic, "used before the pressure", &attacker, &before, seen)
        .await;
    check_replays_refused(Step::Automatic, "used under pressure", &attacker, &during, seen).await;
    let most = memory(&mut tier).await?.0;
    seen.check(
        Step::Automatic,
        format!("memory stays within {} MiB of the limit", MAX_GROWTH_BYTES / 1024 / 1024),
        most < room + MAX_GROWTH_BYTES,
        format!("{} KiB above", most.saturating_sub(room) / 1024),
    );
    check_recovery(limit, objective, env, &mut tier, &attacker, seen).await?;
    check_replays_refused(Step::Recovery, "used under pressure", &attacker, &during, seen).await;
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
    mode: Mode,
    injected_at: Instant,
    env: &DrillEnv,
    attacker: &Attacker<'_>,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let noticed = env
        .wait_until("the filter", DETECT_WITHIN, async |env| {
            attacker.send_fresh(0).await?;
            Ok(proofs_filtered(env).await? > 0.0)
        })
        .await;
    let what = format!("{STORE_METRIC} counts decisions of the filter");
    let took = seen.check_timed(Step::Detection, what, noticed).map(|_| injected_at.elapsed());
    seen.detected_after(took);
    let is_full = async |env: &DrillEnv| Ok(env.metric(MEMORY_RATIO_METRIC, &[]).await? > 0.8);
    let noticed = env.wait_until("a full tier", DETECT_WITHIN, is_full).await;
    seen.check_timed(
        Step::Detection,
        format!("{MEMORY_RATIO_METRIC} shows that the tier is full"),
        noticed,
    );
    if mode == Mode::Full {
        let alerts = env.alerts()?;
        let watching = env.watch(alerts.fire_within(&ALERTS)?, Duration::from_millis(100));
        let (_, raised) = alerts.raised_during(&ALERTS, injected_at, watching).await?;
        raised.report(seen);
    }
    Ok(())
}

/// Checks that desktops keep working. A false positive of the filter is retried with a new proof.
async fn check_user_view(
    env: &DrillEnv,
    attacker: &Attacker<'_>,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let (mut again, mut lost) = (0, 0);
    for number in 0..FRESH_REQUESTS {
        if attacker.send_fresh(number).await? != ReplayOutcome::Accepted {
            again += 1;
            lost += usize::from(attacker.send_fresh(number).await? != ReplayOutcome::Accepted);
        }
    }
    seen.check(
        Step::User,
        "every fresh request succeeds, at the latest with a second proof",
        lost == 0 && again <= FRESH_REQUESTS / 50,
        format!("{FRESH_REQUESTS} requests, {again} with a second proof, {lost} lost"),
    );
    let during = env.watch(Duration::from_secs(2), Duration::from_millis(40)).await;
    let good = during.iter().filter(|seen| DashboardView::is_whole(seen)).count();
    seen.check(
        Step::User,
        "and every dashboard is whole",
        good == during.len() && good > 0,
        format!("{good} of {}", during.len()),
    );
    Ok(())
}

async fn check_recovery(
    limit: u64,
    objective: Duration,
    env: &DrillEnv,
    tier: &mut MultiplexedConnection,
    attacker: &Attacker<'_>,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    set_limit(tier, limit).await?;
    let exact = env
        .wait_until("an exact answer", objective, async |env| {
            let before = proofs_filtered(env).await?;
            let exactly = proofs_noted(env, "shared").await?;
            let fresh = [attacker.send_fresh(0).await?, attacker.send_fresh(1).await?];
            let is_let_in = fresh.iter().all(|answer| *answer == ReplayOutcome::Accepted);
            let more = proofs_filtered(env).await? - before;
            Ok(is_let_in && more < 0.5 && proofs_noted(env, "shared").await? > exactly + 1.5)
        })
        .await;
    let took =
        seen.check_timed(Step::Recovery, "with free memory, proofs are recorded exactly", exact);
    seen.recovered_after(took);
    Ok(())
}

/// Uses some proofs, half of them at each instance.
async fn check_used(
    attacker: &Attacker<'_>,
    step: Step,
    expected: &str,
    seen: &mut Observations,
) -> anyhow::Result<Vec<StolenProof>> {
    let stolen = attacker.steal_proofs(SAMPLE_PROOFS).await?;
    let counts = attacker.flood(&stolen, 1, false).await;
    let held = counts.used() + 1 >= SAMPLE_PROOFS;
    seen.check(step, expected, held, format!("{} of {SAMPLE_PROOFS}", counts.used()));
    Ok(stolen)
}

/// Replays each proof to both instances.
async fn check_replays_refused(
    step: Step,
    what: &str,
    attacker: &Attacker<'_>,
    stolen: &[StolenProof],
    seen: &mut Observations,
) {
    let mut refused = 0;
    for one in stolen {
        for instance in 0..2 {
            refused += usize::from(attacker.send(instance, one).await == ReplayOutcome::Refused);
        }
    }
    let all = stolen.len() * 2;
    seen.check(
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
    env.metric_everywhere(STORE_METRIC, &[("store", store)]).await
}

async fn is_whole(env: &DrillEnv) -> anyhow::Result<bool> {
    Ok(env.dashboard().await.is_whole())
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
