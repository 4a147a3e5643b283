//! A revision with a broken replay check takes traffic. The counter of blocked replays cannot show
//! accepted ones, so each instance replays its own proofs: the broken one detects it, is no longer
//! ready, and is rolled back.

use std::time::Duration;

use contracts::safeguard::Safeguard;
use launcher::stack_info::Gateway;
use tokio::time::Instant;

use super::second_revision::{self, deploy, second_gateway};
use crate::attacker::{Attacker, ReplayCounts};
use crate::drill_env::{DrillEnv, EnvOptions, metrics_of};
use crate::drill_run::{Drill, DrillFuture, DrillRun, EnvAfter};
use crate::observations::Step;

const PROBE_METRIC: &str = "bff_backoffice_dpop_replay_probe_total";
const BLOCKED_METRIC: &str = "bff_backoffice_dpop_replay_blocked_total";
const ALERT: &str = "BffDpopReplayAccepted";
/// The probe's interval of 5 s plus a margin.
const DETECT_WITHIN: Duration = Duration::from_secs(15);
/// A gateway reports a readiness that is at most one second old.
const UNREADY_WITHIN: Duration = Duration::from_secs(3);
const CONNECTIONS: usize = 2;
const PROOFS: usize = 10;
const COPIES_PER_PROOF: usize = 5;

pub(super) struct ReplayBypass;

impl Drill for ReplayBypass {
    fn environment<'a>(&self, options: EnvOptions<'a>) -> EnvOptions<'a> {
        second_revision::environment(options)
    }

    fn leaves(&self) -> EnvAfter {
        EnvAfter::Restarted(&["bff-2"])
    }

    fn run<'a>(&'a self, run: &'a mut DrillRun) -> DrillFuture<'a> {
        Box::pin(run_drill(run))
    }
}

async fn run_drill(run: &mut DrillRun) -> anyhow::Result<()> {
    check_steady(run).await?;
    deploy(&run.env, &[Safeguard::Replay]).await?;
    let deployed_at = Instant::now();
    let what = "one instance is replaced by a revision that accepts replays";
    run.inject(what);
    drill_bad_revision(run, deployed_at).await?;
    let begun = Instant::now();
    deploy(&run.env, &[]).await?;
    let back = until_probed(&run.env, "refused", run.objective).await.map(|_| begun.elapsed());
    let what = "after the rollback the probe shows that replays are refused";
    run.recover_within(what, back);
    let after =
        check_replays(run, Step::Recovery, "both instances refuse every replay again").await?;
    run.recover(
        "and every first use was accepted",
        after.used() == PROOFS,
        format!("{} of {PROOFS}", after.used()),
    );
    Ok(())
}

async fn check_steady(run: &DrillRun) -> anyhow::Result<()> {
    let before = run.env.counter_everywhere(BLOCKED_METRIC, &[]).await?;
    let counts = check_replays(run, Step::Steady, "both instances refuse every replay").await?;
    let counted = run.env.counter_everywhere(BLOCKED_METRIC, &[]).await? - before;
    let all = (counted - counts.refused as f64).abs() < 0.5;
    run.steady(format!("{BLOCKED_METRIC} counts them"), all, counted);
    Ok(())
}

async fn drill_bad_revision(run: &DrillRun, deployed_at: Instant) -> anyhow::Result<()> {
    let bad = second_gateway(&run.env)?;
    let before = run.env.counter_at(&metrics_of(&bad), BLOCKED_METRIC, &[]).await?;
    let attacker = Attacker::with(&run.env, CONNECTIONS)?;
    let counts =
        attacker.flood(&attacker.steal_proofs(PROOFS).await?, COPIES_PER_PROOF, false).await;
    let replayed = counts.replayed();
    let what = format!("{replayed} replays accepted");
    run.user("replays are accepted", replayed > 0, what);
    let whole = run.until_whole().await;
    run.user_within("and operators do not notice: every widget is ok", whole);
    let counted = run.env.counter_at(&metrics_of(&bad), BLOCKED_METRIC, &[]).await? - before;
    run.detect(
        format!("{BLOCKED_METRIC} of that instance does not grow"),
        counted < 0.5,
        format!("{counted:.0} counted"),
    );
    let probing = until_probed(&run.env, "accepted", DETECT_WITHIN);
    let noticed = run.raised_during(&[ALERT], deployed_at, probing).await?;
    let what = format!("{PROBE_METRIC} of that instance shows accepted replays");
    let took = run.detect_within(what, noticed);
    run.detected_after(took);
    check_not_ready(run, &bad).await
}

/// Checks that the broken instance is not ready, so that the load balancer removes it.
async fn check_not_ready(run: &DrillRun, bad: &Gateway) -> anyhow::Result<()> {
    let unready = async |env: &DrillEnv| {
        let (status, down) = env.readiness(bad).await?;
        Ok(status == 503 && down == ["replay-check"])
    };
    let unready =
        run.env.wait_until("the readiness of that instance", UNREADY_WITHIN, unready).await;
    let what = "that instance is not ready, so that it gets no traffic";
    run.automatic_within(what, unready);
    let (status, down) = run.env.readiness(&run.env.stack.info().gateway).await?;
    run.automatic("the other one is ready", status == 200, format!("{status} {down:?}"));
    let probes = async |outcome: &str| run.env.counter(PROBE_METRIC, &[("outcome", outcome)]).await;
    let (accepted, refused) = (probes("accepted").await?, probes("refused").await?);
    let held = accepted < 0.5 && refused > 0.5;
    let found = format!("{accepted:.0}, and {refused:.0} refused");
    run.detect("and its probe shows no accepted replay", held, found);
    Ok(())
}

/// Waits until the second instance's own probe has had this outcome.
async fn until_probed(env: &DrillEnv, outcome: &str, within: Duration) -> anyhow::Result<Duration> {
    let url = metrics_of(&second_gateway(env)?);
    let is_counted = async |env: &DrillEnv| {
        Ok(env.counter_at(&url, PROBE_METRIC, &[("outcome", outcome)]).await? > 0.0)
    };
    env.wait_until(&format!("a probe with the outcome {outcome}"), within, is_counted).await
}

async fn check_replays(run: &DrillRun, step: Step, expected: &str) -> anyhow::Result<ReplayCounts> {
    let attacker = Attacker::with(&run.env, CONNECTIONS)?;
    let counts =
        attacker.flood(&attacker.steal_proofs(PROOFS).await?, COPIES_PER_PROOF, false).await;
    let all = PROOFS * (COPIES_PER_PROOF - 1);
    run.check(step, expected, counts.refused == all, format!("{} of {all}", counts.refused));
    Ok(counts)
}
