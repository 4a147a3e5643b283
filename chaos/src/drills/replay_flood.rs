//! Proofs are sent again and again from many connections to two instances: none is let in twice,
//! desks work beside it, and what an instance can know while the session tier stands still is shown.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Form;
use crate::alerts;
use crate::house::{House, Seen};
use crate::observations::{Observations, Step};
use crate::thief::{Answer, Stolen, Thief};

const BLOCKED: &str = "bff_backoffice_dpop_replay_blocked_total";
const ALERT: &str = "BffDpopReplayFlood";
/// Connections to each instance.
const LINES: usize = 24;
/// Proofs of one wave, and how often each is sent again. A wave takes seconds: its proofs must
/// stay young enough to be judged by the replay check and not by their age.
const PROOFS: usize = 20;
const AGAIN: usize = 100;
/// 100,000 replays; 4,000.
const WAVES_FULL: usize = 50;
const WAVES_SHORT: usize = 2;
const PAUSE: Duration = Duration::from_millis(100);
/// Proofs of desks that are looked at while the tier stands still.
const READS: usize = 20;

#[derive(Debug, Default)]
struct Total {
    sent: usize,
    used: usize,
    replayed: usize,
    refused: usize,
    other: Vec<String>,
}

pub(super) async fn run(
    form: Form,
    objective: Duration,
    house: &mut House,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let house = &*house;
    let steady = until_whole(house, objective).await;
    seen.took(Step::Steady, "every widget is ok", steady);
    let thief = Thief::with(house, LINES)?;
    let waves = if form == Form::Full { WAVES_FULL } else { WAVES_SHORT };
    flood(waves, form, house, &thief, seen).await?;
    let quiet = house.metric_everywhere(BLOCKED, &[]).await?;
    let back = until_whole(house, objective).await;
    let took = seen.took(Step::Recovery, "every widget is ok after the flood", back);
    seen.recovered_after(took);
    let still = house.metric_everywhere(BLOCKED, &[]).await?;
    seen.expect(
        Step::Recovery,
        "and nothing more is blocked",
        (still - quiet).abs() < 0.5,
        format!("{:.0} more", still - quiet),
    );
    tier_stands_still(house, &thief, objective, seen).await
}

async fn flood(
    waves: usize,
    form: Form,
    house: &House,
    thief: &Thief<'_>,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let before = house.metric_everywhere(BLOCKED, &[]).await?;
    let (begun, over) = (Instant::now(), Cell::new(false));
    let work = async {
        let flooding = async {
            let total = send(waves, thief).await;
            over.set(true);
            total
        };
        tokio::join!(flooding, beside(house, &over))
    };
    let (total, desks) = if form == Form::Full {
        let exported = (house.http(), house.metrics_url());
        let (work, fired) = alerts::during(ALERT, exported, work).await;
        seen.took(Step::Detection, format!("{ALERT} fires on the exported metrics"), fired);
        work
    } else {
        work.await
    };
    let (total, took) = (total?, begun.elapsed());
    let proofs = waves * PROOFS;
    let what = format!(
        "{} replays of {proofs} proofs over {} connections to {} instances",
        proofs * AGAIN,
        LINES * house.gateways().len(),
        house.gateways().len()
    );
    seen.expect(Step::Fault, what, true, format!("in {} s", took.as_secs()));
    judged(&total, proofs, seen);
    let blocked = house.metric_everywhere(BLOCKED, &[]).await? - before;
    seen.expect(
        Step::Detection,
        format!("{BLOCKED} grew by what was refused, on both instances together"),
        (blocked - total.refused as f64).abs() < 0.5,
        format!("{blocked:.0} counted, {} refused", total.refused),
    );
    seen.detected_after(Some(Duration::ZERO));
    work_goes_on(&desks, seen);
    Ok(())
}

async fn send(waves: usize, thief: &Thief<'_>) -> anyhow::Result<Total> {
    let mut total = Total::default();
    for wave in 0..waves {
        let stolen = thief.steal_many(PROOFS).await?;
        let tally = thief.flood(&stolen, AGAIN + 1, wave % 2 == 1).await;
        total.sent += PROOFS * (AGAIN + 1);
        total.used += tally.used();
        total.replayed += tally.replayed();
        total.refused += tally.refused;
        total
            .other
            .extend(tally.other.into_iter().map(|(what, times)| format!("{times} × {what}")));
    }
    Ok(total)
}

fn judged(total: &Total, proofs: usize, seen: &mut Observations) {
    seen.expect(
        Step::Automatic,
        "no proof was let in a second time",
        total.replayed == 0,
        format!("{} of {} requests", total.replayed, total.sent),
    );
    seen.expect(
        Step::Automatic,
        "each proof was let in once, also when all its copies raced",
        total.used == proofs,
        format!("{} of {proofs}", total.used),
    );
    seen.expect(
        Step::User,
        "whoever sends a replay gets 401 DPOP_INVALID and nothing else",
        total.other.is_empty() && total.refused == total.sent - proofs,
        format!("{} refused, others {:?}", total.refused, total.other),
    );
}

/// A desk that works while it lasts.
async fn beside(house: &House, over: &Cell<bool>) -> Vec<Seen> {
    let mut seen = Vec::new();
    while !over.get() {
        seen.push(house.dashboard().await);
        sleep(PAUSE).await;
    }
    seen
}

fn work_goes_on(desks: &[Seen], seen: &mut Observations) {
    let good = desks.iter().filter(|dashboard| dashboard.status == Some(200)).count();
    let slowest = desks.iter().map(|dashboard| dashboard.took).max().unwrap_or_default();
    seen.expect(
        Step::User,
        "a desk beside the flood gets every dashboard",
        good == desks.len() && good > 0,
        format!("{good} of {}, the slowest in {} ms", desks.len(), slowest.as_millis()),
    );
}

/// An instance knows what it let in itself, before and while the tier stands still; of the other
/// instance's proofs it knows nothing until the tier is back (gateway-api section 3).
async fn tier_stands_still(
    house: &House,
    thief: &Thief<'_>,
    objective: Duration,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let tier = house.stack.process("redis-session")?.clone();
    let before = used_at_first(thief, seen).await?;
    tier.pause().await?;
    seen.expect(Step::Fault, "the session tier is stopped with SIGSTOP", true, "done");
    let during = thief.steal().await?;
    let first = thief.send(0, &during).await;
    seen.expect(
        Step::User,
        "a fresh proof is let in without the tier",
        first == Answer::Accepted,
        format!("{first:?}"),
    );
    refused("without the tier, what this instance let in", thief, &[0], &[&before, &during], seen)
        .await;
    elsewhere(thief, &[&before, &during], seen).await;
    waits(thief, seen).await?;
    let burnt_alone = thief.steal().await?;
    thief.send(0, &burnt_alone).await;
    tier.resume().await?;
    let ready = house.until("readiness", objective, is_ready).await;
    let took = seen.took(Step::Recovery, "the tier goes on and the gateway is ready", ready);
    seen.recovered_after(took);
    refused("after it, what either let in", thief, &[0, 1], &[&before, &during], seen).await;
    let late = [thief.send(1, &burnt_alone).await, thief.send(1, &burnt_alone).await];
    seen.expect(
        Step::Recovery,
        "what the first let in meanwhile, the other lets in once at most",
        late[1] == Answer::Refused,
        format!("{late:?}"),
    );
    Ok(())
}

async fn used_at_first(thief: &Thief<'_>, seen: &mut Observations) -> anyhow::Result<Stolen> {
    let stolen = thief.steal().await?;
    let answer = thief.send(0, &stolen).await;
    let held = answer == Answer::Accepted;
    seen.expect(Step::Steady, "a proof is let in", held, format!("{answer:?}"));
    Ok(stolen)
}

async fn refused(
    when: &str,
    thief: &Thief<'_>,
    instances: &[usize],
    all: &[&Stolen],
    seen: &mut Observations,
) {
    let mut answers = Vec::new();
    for instance in instances {
        for stolen in all {
            answers.push(thief.send(*instance, stolen).await);
        }
    }
    let held = answers.iter().all(|answer| *answer == Answer::Refused);
    seen.expect(Step::Automatic, format!("{when} is refused"), held, format!("{answers:?}"));
}

/// The contract's own limit, shown: the other instance lets each in once and then never again.
async fn elsewhere(thief: &Thief<'_>, all: &[&Stolen], seen: &mut Observations) {
    let mut first = Vec::new();
    let mut second = Vec::new();
    for stolen in all {
        first.push(thief.send(1, stolen).await);
        second.push(thief.send(1, stolen).await);
    }
    seen.expect(
        Step::Automatic,
        "without the tier the other instance lets each in once at most",
        second.iter().all(|answer| *answer == Answer::Refused),
        format!("at first {first:?}, then {second:?}"),
    );
}

/// What a tier that does not answer costs each request.
async fn waits(thief: &Thief<'_>, seen: &mut Observations) -> anyhow::Result<()> {
    let (mut took, mut good) = (Vec::new(), 0);
    for _ in 0..READS {
        let begun = Instant::now();
        good += usize::from(thief.fresh(0).await? == Answer::Accepted);
        took.push(begun.elapsed());
    }
    took.sort();
    let (middle, slowest) = (took[READS / 2].as_millis(), took[READS - 1].as_millis());
    seen.expect(
        Step::User,
        "reads go on, each waiting for the tier no longer than its limit",
        good == READS && slowest < 400,
        format!("{good} of {READS}, the median in {middle} ms, the slowest in {slowest} ms"),
    );
    Ok(())
}

async fn is_ready(house: &House) -> anyhow::Result<bool> {
    for gateway in house.gateways() {
        if house.readiness(&gateway).await?.0 != 200 {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn until_whole(house: &House, within: Duration) -> anyhow::Result<Duration> {
    let is_so = async |house: &House| Ok(house.dashboard().await.is_whole());
    house.until("a whole dashboard", within, is_so).await
}
