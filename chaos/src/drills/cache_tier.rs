//! The cache tier is down: everything answers, each instance reads from the upstreams itself,
//! readiness names the tier and stays ready, and the tier is used again by itself.

use std::collections::BTreeSet;
use std::time::Duration;

use contracts::clock::Entropy;
use launcher::desktop::Call;
use tokio::time::{Instant, sleep};

use super::Form;
use crate::alerts;
use crate::house::{House, Seen, connect};
use crate::observations::{Observations, Step};
use crate::timed::{self, Answer};

const TIER: &str = "redis-cache";
const CHECK: &str = "cache-tier";
const ALERT: &str = "BffCacheTierAway";
const COUNTER: &str = "bff_backoffice_cache_tier_failure_total";
const MISSES: &str = "bff_backoffice_cache_miss_total";
const DETECT_WITHIN: Duration = Duration::from_secs(10);
/// Long enough for the shortest freshness to end twice: reads go to their upstreams.
const WATCHED: Duration = Duration::from_secs(11);
/// Long enough for a rate over a minute to show it and for `for: 15s`.
const ALERTED: Duration = Duration::from_secs(40);
const PAUSE: Duration = Duration::from_millis(40);
/// The route's deadline and what a connection adds to it on a busy machine.
const ANSWER_WITHIN: Duration = Duration::from_millis(700);

/// What is done to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    /// It keeps its connections and answers nothing.
    Pause,
    Kill,
}

pub(super) async fn run(
    form: Form,
    objective: Duration,
    house: &mut House,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    for blow in [Blow::Pause, Blow::Kill] {
        let alert = blow == Blow::Pause && form == Form::Full;
        one(blow, alert, objective, house, seen).await?;
    }
    Ok(())
}

async fn one(
    blow: Blow,
    alert: bool,
    objective: Duration,
    house: &mut House,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let steady = house.until("a whole dashboard and a tier in use", objective, is_well).await;
    seen.took(Step::Steady, "every widget is ok and the tier holds what was read", steady);
    let (before, struck) = (house.metric(MISSES, &[]).await?, Instant::now());
    strike(blow, house).await?;
    seen.expect(Step::Fault, format!("{blow:?} {TIER}"), true, "done");
    let (during, reads) = watched(alert, house, seen).await?;
    user(blow, &during, seen);
    unkept(blow, &reads, seen);
    noticed(struck, house, seen).await?;
    let asked = house.metric(MISSES, &[]).await? - before;
    let what = "reads go on to the upstreams";
    seen.expect(Step::Automatic, what, asked > 0.0, format!("{asked:.0} went"));

    undo(blow, house).await?;
    let back = house.until("a tier in use", objective, is_well).await;
    let what = format!("the tier is used again within {} s, by itself", objective.as_secs());
    let took = seen.took(Step::Recovery, what, back);
    seen.recovered_after(took);
    Ok(())
}

async fn strike(blow: Blow, house: &House) -> anyhow::Result<()> {
    let tier = house.stack.process(TIER)?;
    match blow {
        Blow::Pause => tier.pause().await,
        Blow::Kill => tier.kill().await,
    }
}

async fn undo(blow: Blow, house: &mut House) -> anyhow::Result<()> {
    match blow {
        Blow::Pause => house.stack.process(TIER)?.resume().await,
        Blow::Kill => house.stack.restart(TIER).await.map(drop),
    }
}

/// Readiness says so and stays: work goes on. The failures are counted.
async fn noticed(struck: Instant, house: &House, seen: &mut Observations) -> anyhow::Result<()> {
    let named = async |house: &House| {
        let ready = house.readiness(&house.stack.info().gateway).await?;
        Ok(ready == (200, vec![CHECK.to_owned()]))
    };
    let named = house.until("the tier's check", DETECT_WITHIN, named).await;
    seen.took(Step::Detection, format!("readiness is 200 and names {CHECK} as down"), named);
    let counted = house.metric(COUNTER, &[]).await?;
    seen.expect(Step::Detection, format!("{COUNTER} counts"), counted > 0.0, counted);
    seen.detected_after(Some(struck.elapsed()));
    Ok(())
}

/// Dashboards, and reads of which nothing is kept.
type During = (Vec<Seen>, Vec<Answer>);

async fn watched(alert: bool, house: &House, seen: &mut Observations) -> anyhow::Result<During> {
    if !alert {
        return watch(WATCHED, house).await;
    }
    let exported = (house.http(), house.metrics_url());
    let (during, fired) = alerts::during(ALERT, exported, watch(ALERTED, house)).await;
    seen.took(Step::Detection, format!("{ALERT} fires on the exported metrics"), fired);
    during
}

async fn watch(length: Duration, house: &House) -> anyhow::Result<During> {
    let (end, mut dashboards, mut reads) = (Instant::now() + length, Vec::new(), Vec::new());
    while Instant::now() < end {
        dashboards.push(house.dashboard().await);
        reads.push(timed::send(&house.desktop, &unasked(house)).await?);
        sleep(PAUSE).await;
    }
    Ok((dashboards, reads))
}

/// The arrivals of a day that nobody asked for before: the tier is asked, and has nothing.
fn unasked(house: &House) -> Call {
    let draw = |count: u128| Entropy::system().u128() % count;
    let day = format!("{}-{:02}-{:02}", 2100 + draw(7900), 1 + draw(12), 1 + draw(28));
    Call::get(format!("/arrivals?propertyId={}&date={day}", house.property))
}

fn unkept(blow: Blow, reads: &[Answer], seen: &mut Observations) {
    let good = reads.iter().filter(|it| it.status == 200).count();
    let slowest = reads.iter().map(|it| it.took).max().unwrap_or_default();
    let within = ANSWER_WITHIN.as_millis();
    let what = format!("{blow:?}: reads of which nothing is kept are 200 within {within} ms");
    let found = format!("{good} of {}, the slowest in {} ms", reads.len(), slowest.as_millis());
    let held = good == reads.len() && good > 0 && slowest <= ANSWER_WITHIN;
    seen.expect(Step::User, what, held, found);
}

fn user(blow: Blow, during: &[Seen], seen: &mut Observations) {
    let whole = during.iter().filter(|it| it.is_whole()).count();
    let what = format!("{blow:?}: every dashboard is whole");
    let lacking: BTreeSet<_> = during.iter().flat_map(|it| &it.lacking).collect();
    let found = format!("{whole} of {}, lacking {lacking:?}", during.len());
    seen.expect(Step::User, what, whole == during.len() && whole > 0, found);
    let slowest = during.iter().map(|it| it.took).max().unwrap_or_default();
    let what = format!("{blow:?}: each within {} ms", ANSWER_WITHIN.as_millis());
    let found = format!("the slowest in {} ms", slowest.as_millis());
    seen.expect(Step::User, what, slowest <= ANSWER_WITHIN, found);
}

/// Whole dashboards, readiness without complaint, and answers in the tier that were read just now.
async fn is_well(house: &House) -> anyhow::Result<bool> {
    let ready = house.readiness(&house.stack.info().gateway).await?;
    if !house.dashboard().await.is_whole() || ready != (200, vec![]) {
        return Ok(false);
    }
    let mut tier = connect(&house.stack.info().redis.cache.url).await?;
    let keys: Vec<String> =
        redis::cmd("KEYS").arg("snapshot:*:alerts:*").query_async(&mut tier).await?;
    Ok(!keys.is_empty())
}
