//! Proofs are replayed over many connections to two instances. None is accepted twice, and desktops
//! work normally. Then the same with a session tier that does not respond.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::attacker::{Attacker, ReplayOutcome, StolenProof};
use crate::drill_env::{DashboardView, DrillEnv, EnvOptions};
use crate::drill_run::{Drill, DrillFuture, DrillRun, EnvAfter, Load, Mode};
use crate::observations::Step;

const BLOCKED_METRIC: &str = "bff_backoffice_dpop_replay_blocked_total";
const ALERT: &str = "BffDpopReplayFlood";
/// Connections to each instance.
const CONNECTIONS: usize = 24;
/// Proofs per wave. A wave takes seconds, so that its proofs do not expire before they are replayed.
const PROOFS: usize = 20;
const REPLAYS_PER_PROOF: usize = 100;
/// 100,000 replays in a full run, 4,000 in a short one.
const WAVES_FULL: usize = 50;
const WAVES_SHORT: usize = 2;
const REQUEST_PAUSE: Duration = Duration::from_millis(100);
/// Requests measured while the tier does not respond.
const SAMPLE_READS: usize = 20;

#[derive(Debug, Default)]
struct Total {
    sent: usize,
    used: usize,
    replayed: usize,
    refused: usize,
    other: Vec<String>,
}

pub(super) struct ReplayFlood;

impl Drill for ReplayFlood {
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
    let steady = run.until_whole().await;
    run.steady_within("every widget is ok", steady);
    let attacker = Attacker::with(&run.env, CONNECTIONS)?;
    let waves = if run.mode == Mode::Full { WAVES_FULL } else { WAVES_SHORT };
    flood(run, waves, &attacker).await?;
    let quiet = run.env.counter_everywhere(BLOCKED_METRIC, &[]).await?;
    let back = run.until_whole().await;
    run.recover_within("every widget is ok after the flood", back);
    let still = run.env.counter_everywhere(BLOCKED_METRIC, &[]).await?;
    run.recover(
        "and nothing more is blocked",
        (still - quiet).abs() < 0.5,
        format!("{:.0} more", still - quiet),
    );
    drill_silent_tier(run, &attacker).await
}

async fn flood(run: &DrillRun, waves: usize, attacker: &Attacker<'_>) -> anyhow::Result<()> {
    let before = run.env.counter_everywhere(BLOCKED_METRIC, &[]).await?;
    let (begun, over) = (Instant::now(), Cell::new(false));
    let work = async {
        let flooding = async {
            let total = send(waves, attacker).await;
            over.set(true);
            total
        };
        tokio::join!(flooding, watch_dashboards(&run.env, &over))
    };
    let (total, dashboards) = run.raised_during(&[ALERT], begun, work).await?;
    let (total, took) = (total?, begun.elapsed());
    let proofs = waves * PROOFS;
    let what = format!(
        "{} replays of {proofs} proofs over {} connections to {} instances",
        proofs * REPLAYS_PER_PROOF,
        CONNECTIONS * run.env.gateways().len(),
        run.env.gateways().len()
    );
    run.check(Step::Fault, what, true, format!("in {} s", took.as_secs()));
    check_totals(run, &total, proofs);
    let blocked = run.env.counter_everywhere(BLOCKED_METRIC, &[]).await? - before;
    run.detect(
        format!("{BLOCKED_METRIC} of both instances grew by the number refused"),
        (blocked - total.refused as f64).abs() < 0.5,
        format!("{blocked:.0} counted, {} refused", total.refused),
    );
    run.detected_after(Some(Duration::ZERO));
    check_dashboards(run, &dashboards);
    Ok(())
}

async fn send(waves: usize, attacker: &Attacker<'_>) -> anyhow::Result<Total> {
    let mut total = Total::default();
    for wave in 0..waves {
        let stolen = attacker.steal_proofs(PROOFS).await?;
        let counts = attacker.flood(&stolen, REPLAYS_PER_PROOF + 1, wave % 2 == 1).await;
        total.sent += PROOFS * (REPLAYS_PER_PROOF + 1);
        total.used += counts.used();
        total.replayed += counts.replayed();
        total.refused += counts.refused;
        total
            .other
            .extend(counts.other.into_iter().map(|(what, times)| format!("{times} × {what}")));
    }
    Ok(total)
}

fn check_totals(run: &DrillRun, total: &Total, proofs: usize) {
    run.automatic(
        "no proof was accepted twice",
        total.replayed == 0,
        format!("{} of {} requests", total.replayed, total.sent),
    );
    run.automatic(
        "each proof was accepted once, even when all copies raced",
        total.used == proofs,
        format!("{} of {proofs}", total.used),
    );
    run.user(
        "every replay gets 401 DPOP_INVALID",
        total.other.is_empty() && total.refused == total.sent - proofs,
        format!("{} refused, others {:?}", total.refused, total.other),
    );
}

/// Requests dashboards until the flood is over.
async fn watch_dashboards(env: &DrillEnv, over: &Cell<bool>) -> Vec<DashboardView> {
    let mut seen = Vec::new();
    while !over.get() {
        seen.push(env.dashboard().await);
        sleep(REQUEST_PAUSE).await;
    }
    seen
}

fn check_dashboards(run: &DrillRun, dashboards: &[DashboardView]) {
    let good = dashboards.iter().filter(|dashboard| dashboard.status == Some(200)).count();
    let slowest = dashboards.iter().map(|dashboard| dashboard.took).max().unwrap_or_default();
    run.user(
        "a desktop gets every dashboard during the flood",
        good == dashboards.len() && good > 0,
        format!("{good} of {}, the slowest in {} ms", dashboards.len(), slowest.as_millis()),
    );
}

/// While the tier does not respond, an instance refuses replays of proofs that it accepted itself. It
/// does not know the other instance's proofs until the tier is back (gateway-api section 3).
async fn drill_silent_tier(run: &DrillRun, attacker: &Attacker<'_>) -> anyhow::Result<()> {
    let tier = run.env.stack.process("redis-session")?.clone();
    let before = check_first_use(run, attacker).await?;
    tier.pause().await?;
    run.inject("the session tier is stopped with SIGSTOP");
    let during = attacker.steal_proof().await?;
    let first = attacker.send(0, &during).await;
    run.user(
        "a fresh proof is accepted without the tier",
        first == ReplayOutcome::Accepted,
        format!("{first:?}"),
    );
    check_refused(
        run,
        "without the tier, what this instance accepted",
        attacker,
        &[0],
        &[&before, &during],
    )
    .await;
    check_other_instance(run, attacker, &[&before, &during]).await;
    check_tier_wait(run, attacker).await?;
    let used_once = attacker.steal_proof().await?;
    attacker.send(0, &used_once).await;
    tier.resume().await?;
    let ready = run.env.wait_until("readiness", run.objective, is_ready).await;
    run.recover_within("the tier responds and the gateway is ready", ready);
    check_refused(
        run,
        "afterwards, what either instance accepted",
        attacker,
        &[0, 1],
        &[&before, &during],
    )
    .await;
    let late = [attacker.send(1, &used_once).await, attacker.send(1, &used_once).await];
    run.recover(
        "a proof accepted by the first instance meanwhile is accepted by the other at most once",
        late[1] == ReplayOutcome::Refused,
        format!("{late:?}"),
    );
    Ok(())
}

async fn check_first_use(run: &DrillRun, attacker: &Attacker<'_>) -> anyhow::Result<StolenProof> {
    let stolen = attacker.steal_proof().await?;
    let answer = attacker.send(0, &stolen).await;
    let held = answer == ReplayOutcome::Accepted;
    run.steady("a proof is accepted", held, format!("{answer:?}"));
    Ok(stolen)
}

async fn check_refused(
    run: &DrillRun,
    when: &str,
    attacker: &Attacker<'_>,
    instances: &[usize],
    all: &[&StolenProof],
) {
    let mut answers = Vec::new();
    for instance in instances {
        for stolen in all {
            answers.push(attacker.send(*instance, stolen).await);
        }
    }
    let held = answers.iter().all(|answer| *answer == ReplayOutcome::Refused);
    run.automatic(format!("{when} is refused"), held, format!("{answers:?}"));
}

/// Checks the documented limit: the other instance accepts each proof at most once.
async fn check_other_instance(run: &DrillRun, attacker: &Attacker<'_>, all: &[&StolenProof]) {
    let mut first = Vec::new();
    let mut second = Vec::new();
    for stolen in all {
        first.push(attacker.send(1, stolen).await);
        second.push(attacker.send(1, stolen).await);
    }
    run.automatic(
        "without the tier the other instance accepts each at most once",
        second.iter().all(|answer| *answer == ReplayOutcome::Refused),
        format!("at first {first:?}, then {second:?}"),
    );
}

/// Measures how long requests wait for a tier that does not respond.
async fn check_tier_wait(run: &DrillRun, attacker: &Attacker<'_>) -> anyhow::Result<()> {
    let (mut took, mut good) = (Vec::new(), 0);
    for _ in 0..SAMPLE_READS {
        let begun = Instant::now();
        good += usize::from(attacker.send_fresh(0).await? == ReplayOutcome::Accepted);
        took.push(begun.elapsed());
    }
    took.sort();
    let (middle, slowest) =
        (took[SAMPLE_READS / 2].as_millis(), took[SAMPLE_READS - 1].as_millis());
    run.user(
        "reads succeed, each waiting for the tier only up to its limit",
        good == SAMPLE_READS && slowest < 400,
        format!("{good} of {SAMPLE_READS}, the median in {middle} ms, the slowest in {slowest} ms"),
    );
    Ok(())
}

async fn is_ready(env: &DrillEnv) -> anyhow::Result<bool> {
    for gateway in env.gateways() {
        if env.readiness(&gateway).await?.0 != 200 {
            return Ok(false);
        }
    }
    Ok(true)
}
