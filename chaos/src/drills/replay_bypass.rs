//! A revision with a broken replay check takes traffic. The counter of blocked replays cannot show
//! accepted ones, so each instance replays its own proofs: the broken one detects it, is no longer
//! ready, and is rolled back.

use std::time::Duration;

use contracts::safeguard::Safeguard;
use launcher::servers::SECOND_GATEWAY;
use launcher::stack_info::Gateway;
use tokio::time::Instant;

use super::Mode;
use crate::attacker::{Attacker, ReplayCounts};
use crate::drill_env::{DrillEnv, GUARDS_OFF};
use crate::observations::{Observations, Step};

const PROBE_METRIC: &str = "bff_backoffice_dpop_replay_probe_total";
const BLOCKED_METRIC: &str = "bff_backoffice_dpop_replay_blocked_total";
const ALERT: &str = "BffDpopReplayAccepted";
/// The probe's interval of 5 s plus a margin.
const DETECT_WITHIN: Duration = Duration::from_secs(15);
/// A gateway reports a readiness that is at most one second old.
const UNREADY_WITHIN: Duration = Duration::from_secs(3);
const START_WITHIN: Duration = Duration::from_secs(30);
const CONNECTIONS: usize = 2;
const PROOFS: usize = 10;
const COPIES_PER_PROOF: usize = 5;

pub(super) async fn run(
    mode: Mode,
    objective: Duration,
    env: &mut DrillEnv,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let env = &*env;
    check_steady(env, objective, seen).await?;
    deploy(env, &[Safeguard::Replay]).await?;
    let deployed_at = Instant::now();
    let what = "one instance is replaced by a revision that accepts replays";
    seen.check(Step::Fault, what, true, "done");
    drill_bad_revision(mode, deployed_at, env, seen).await?;
    let begun = Instant::now();
    deploy(env, &[]).await?;
    let good = |probes: f64| probes > 0.0;
    let back = until_probed(env, "refused", objective, good).await.map(|_| begun.elapsed());
    let what = "after the rollback the probe shows that replays are refused";
    let took = seen.check_timed(Step::Recovery, what, back);
    seen.recovered_after(took);
    let after =
        check_replays(env, Step::Recovery, "both instances refuse every replay again", seen)
            .await?;
    seen.check(
        Step::Recovery,
        "and every first use was accepted",
        after.used() == PROOFS,
        format!("{} of {PROOFS}", after.used()),
    );
    Ok(())
}

async fn check_steady(
    env: &DrillEnv,
    objective: Duration,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    check_replays(env, Step::Steady, "both instances refuse every replay", seen).await?;
    let probed = until_probed(env, "refused", objective, |probes| probes > 0.0).await;
    seen.check_timed(Step::Steady, "and the instance's own probe was refused", probed);
    Ok(())
}

async fn drill_bad_revision(
    mode: Mode,
    deployed_at: Instant,
    env: &DrillEnv,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let bad = second_gateway(env)?;
    let before = env.metric_at(&bad, BLOCKED_METRIC, &[]).await?;
    let attacker = Attacker::with(env, CONNECTIONS)?;
    let counts =
        attacker.flood(&attacker.steal_proofs(PROOFS).await?, COPIES_PER_PROOF, false).await;
    let replayed = counts.replayed();
    let what = format!("{replayed} replays accepted");
    seen.check(Step::User, "replays are accepted", replayed > 0, what);
    let whole = async |env: &DrillEnv| Ok(env.dashboard().await.is_whole());
    let whole = env.wait_until("a whole dashboard", DETECT_WITHIN, whole).await;
    seen.check_timed(Step::User, "and operators do not notice: every widget is ok", whole);
    let counted = env.metric_at(&bad, BLOCKED_METRIC, &[]).await? - before;
    seen.check(
        Step::Detection,
        format!("{BLOCKED_METRIC} of that instance does not grow"),
        counted < 0.5,
        format!("{counted:.0} counted"),
    );
    let probing = until_probed(env, "accepted", DETECT_WITHIN, |probes| probes > 0.0);
    let noticed = if mode == Mode::Full {
        let alerts = env.alerts()?;
        let (noticed, raised) = alerts.raised_during(&[ALERT], deployed_at, probing).await?;
        raised.report(seen);
        noticed
    } else {
        probing.await
    };
    let what = format!("{PROBE_METRIC} of that instance shows accepted replays");
    let took = seen.check_timed(Step::Detection, what, noticed);
    seen.detected_after(took);
    check_not_ready(env, &bad, seen).await
}

/// Checks that the broken instance is not ready, so that the load balancer removes it.
async fn check_not_ready(
    env: &DrillEnv,
    bad: &Gateway,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let unready = async |env: &DrillEnv| {
        let (status, down) = env.readiness(bad).await?;
        Ok(status == 503 && down == ["replay-check"])
    };
    let unready = env.wait_until("the readiness of that instance", UNREADY_WITHIN, unready).await;
    let what = "that instance is not ready, so that it gets no traffic";
    seen.check_timed(Step::Automatic, what, unready);
    let (status, down) = env.readiness(&env.stack.info().gateway).await?;
    seen.check(
        Step::Automatic,
        "the other one is ready",
        status == 200,
        format!("{status} {down:?}"),
    );
    let accepted = env.metric(PROBE_METRIC, &[("outcome", "accepted")]).await?;
    seen.check(
        Step::Detection,
        "and its probe shows no accepted replay",
        accepted < 0.5,
        format!("{accepted:.0}"),
    );
    Ok(())
}

/// Restarts the second instance with these safeguards switched off.
async fn deploy(env: &DrillEnv, disabled: &[Safeguard]) -> anyhow::Result<()> {
    let mut off = env.safeguards_off.clone();
    off.extend(disabled);
    let gateway = env.stack.process(SECOND_GATEWAY)?;
    gateway.set_env(GUARDS_OFF, serde_json::to_string(&off)?).await?;
    gateway.restart().await?;
    // Waits for a response only: a broken instance may never be ready.
    let second = second_gateway(env)?;
    let answers = async |env: &DrillEnv| Ok(env.readiness(&second).await.is_ok());
    env.wait_until("the new instance", START_WITHIN, answers).await?;
    Ok(())
}

fn second_gateway(env: &DrillEnv) -> anyhow::Result<Gateway> {
    anyhow::Context::context(env.gateways().into_iter().nth(1), "there are two instances")
}

async fn until_probed(
    env: &DrillEnv,
    outcome: &str,
    within: Duration,
    is_so: impl Fn(f64) -> bool,
) -> anyhow::Result<Duration> {
    let second = second_gateway(env)?;
    let look = async |env: &DrillEnv| {
        Ok(is_so(env.metric_at(&second, PROBE_METRIC, &[("outcome", outcome)]).await?))
    };
    env.wait_until(&format!("a probe with the outcome {outcome}"), within, look).await
}

async fn check_replays(
    env: &DrillEnv,
    step: Step,
    expected: &str,
    seen: &mut Observations,
) -> anyhow::Result<ReplayCounts> {
    let attacker = Attacker::with(env, CONNECTIONS)?;
    let counts =
        attacker.flood(&attacker.steal_proofs(PROOFS).await?, COPIES_PER_PROOF, false).await;
    let all = PROOFS * (COPIES_PER_PROOF - 1);
    seen.check(step, expected, counts.refused == all, format!("{} of {all}", counts.refused));
    Ok(counts)
}
