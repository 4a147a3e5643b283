//! A revision whose replay check does not work takes traffic. No counter of blocked replays can
//! show what was let in, so each instance replays proofs of its own: the bad one says so, is not
//! ready any more, and the last good revision takes its place.

use std::time::Duration;

use contracts::safeguard::Safeguard;
use launcher::info::Gateway;
use launcher::servers::SECOND_GATEWAY;

use super::Form;
use crate::alerts;
use crate::house::{GUARDS_OFF, House, metrics_of};
use crate::observations::{Observations, Step};
use crate::thief::{Tally, Thief};

const PROBE: &str = "bff_backoffice_dpop_replay_probe_total";
const BLOCKED: &str = "bff_backoffice_dpop_replay_blocked_total";
const ALERT: &str = "BffDpopReplayAccepted";
/// The probe's 5 s and a look of its own.
const DETECT_WITHIN: Duration = Duration::from_secs(15);
/// Until an evaluation of the rule every 5 s has seen the probe's counter.
const ALERTED: Duration = Duration::from_secs(20);
const START_WITHIN: Duration = Duration::from_secs(30);
const LINES: usize = 2;
const PROOFS: usize = 10;
const COPIES: usize = 5;

pub(super) async fn run(
    form: Form,
    objective: Duration,
    house: &mut House,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let house = &*house;
    steady(house, objective, seen).await?;
    deploy(house, &[Safeguard::Replay]).await?;
    let what = "one instance is replaced by a revision that lets replays in";
    seen.expect(Step::Fault, what, true, "done");
    during(form, house, seen).await?;
    let begun = tokio::time::Instant::now();
    deploy(house, &[]).await?;
    let good = |probes: f64| probes > 0.0;
    let back = until_probed(house, "refused", objective, good).await.map(|_| begun.elapsed());
    let what = "the last good revision is back, and its probe says that replays are refused";
    let took = seen.took(Step::Recovery, what, back);
    seen.recovered_after(took);
    let after =
        replays(house, Step::Recovery, "every replay is refused by both again", seen).await?;
    seen.expect(
        Step::Recovery,
        "and no proof was lost to it",
        after.used() == PROOFS,
        format!("{} of {PROOFS}", after.used()),
    );
    Ok(())
}

async fn steady(house: &House, objective: Duration, seen: &mut Observations) -> anyhow::Result<()> {
    replays(house, Step::Steady, "every replay is refused by both instances", seen).await?;
    let probed = until_probed(house, "refused", objective, |probes| probes > 0.0).await;
    seen.took(Step::Steady, "the probe of each instance was refused, too", probed);
    Ok(())
}

async fn during(form: Form, house: &House, seen: &mut Observations) -> anyhow::Result<()> {
    let bad = second(house)?;
    let before = house.metric_at(&bad, BLOCKED, &[]).await?;
    let thief = Thief::with(house, LINES)?;
    let let_in = thief.flood(&thief.steal_many(PROOFS).await?, COPIES, false).await;
    let replayed = let_in.replayed();
    let what = format!("{replayed} replays let in");
    seen.expect(Step::User, "a thief is let in", replayed > 0, what);
    let whole = async |house: &House| Ok(house.dashboard().await.is_whole());
    let whole = house.until("a whole dashboard", DETECT_WITHIN, whole).await;
    seen.took(Step::User, "and no operator notices: every widget is ok", whole);
    let counted = house.metric_at(&bad, BLOCKED, &[]).await? - before;
    seen.expect(
        Step::Detection,
        format!("{BLOCKED} stays below the replays that were sent to it"),
        counted < 0.5,
        format!("{counted:.0} counted"),
    );
    let probing = until_probed(house, "accepted", DETECT_WITHIN, |probes| probes > 0.0);
    let noticed = if form == Form::Full {
        let work = async {
            let noticed = probing.await;
            house.watch(ALERTED, Duration::from_millis(200)).await;
            noticed
        };
        let (noticed, fired) = alerts::during(ALERT, (house.http(), metrics_of(&bad)), work).await;
        seen.took(Step::Detection, format!("{ALERT} fires on the exported metrics"), fired);
        noticed
    } else {
        probing.await
    };
    let what = format!("{PROBE} of that instance says that a used proof is accepted");
    let took = seen.took(Step::Detection, what, noticed);
    seen.detected_after(took);
    out_of_traffic(house, &bad, seen).await
}

/// The load balancer takes out who is not ready.
async fn out_of_traffic(
    house: &House,
    bad: &Gateway,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let (status, down) = house.readiness(bad).await?;
    seen.expect(
        Step::Automatic,
        "that instance is not ready any more, so that it gets no traffic",
        status == 503 && down == ["replay-check"],
        format!("{status} {down:?}"),
    );
    let (status, down) = house.readiness(&house.stack.info().gateway).await?;
    seen.expect(Step::Automatic, "the other one is", status == 200, format!("{status} {down:?}"));
    let accepted = house.metric(PROBE, &[("outcome", "accepted")]).await?;
    seen.expect(
        Step::Detection,
        "and its own probe never complained",
        accepted < 0.5,
        format!("{accepted:.0}"),
    );
    Ok(())
}

/// Replaces the second instance by one without these safeguards.
async fn deploy(house: &House, lacking: &[Safeguard]) -> anyhow::Result<()> {
    let mut off = house.safeguards_off.clone();
    off.extend(lacking);
    let gateway = house.stack.process(SECOND_GATEWAY)?;
    gateway.set_env(GUARDS_OFF, serde_json::to_string(&off)?).await?;
    gateway.restart().await?;
    // Not until it is ready: a bad one may never be.
    let second = second(house)?;
    let answers = async |house: &House| Ok(house.readiness(&second).await.is_ok());
    house.until("the new instance", START_WITHIN, answers).await?;
    Ok(())
}

fn second(house: &House) -> anyhow::Result<Gateway> {
    anyhow::Context::context(house.gateways().into_iter().nth(1), "there are two instances")
}

async fn until_probed(
    house: &House,
    outcome: &str,
    within: Duration,
    is_so: impl Fn(f64) -> bool,
) -> anyhow::Result<Duration> {
    let second = second(house)?;
    let look = async |house: &House| {
        Ok(is_so(house.metric_at(&second, PROBE, &[("outcome", outcome)]).await?))
    };
    house.until(&format!("a probe with the outcome {outcome}"), within, look).await
}

async fn replays(
    house: &House,
    step: Step,
    expected: &str,
    seen: &mut Observations,
) -> anyhow::Result<Tally> {
    let thief = Thief::with(house, LINES)?;
    let tally = thief.flood(&thief.steal_many(PROOFS).await?, COPIES, false).await;
    let all = PROOFS * (COPIES - 1);
    seen.expect(step, expected, tally.refused == all, format!("{} of {all}", tally.refused));
    Ok(tally)
}
