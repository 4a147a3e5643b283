//! So many proofs come that the session tier has no memory left to note them. A filter of fixed
//! size takes over: desks work on, no replay is let in, memory stays bounded.

use std::time::Duration;

use anyhow::Context;
use contracts::safeguard::Safeguard;
use redis::InfoDict;
use redis::aio::MultiplexedConnection;
use tokio::time::Instant;

use super::Form;
use crate::alerts;
use crate::house::{House, Seen};
use crate::observations::{Observations, Step};
use crate::thief::{Answer, Stolen, Thief};

const STORE: &str = "bff_backoffice_dpop_replay_store_total";
const RATIO: &str = "bff_backoffice_session_tier_memory_ratio";
const FULL: &str = "BffSessionTierMemoryHigh";
const FILTER: &str = "BffReplayFilterInUse";
/// What is left to the tier before the spike, bytes.
const LEFT: u64 = 192 * 1024;
/// Three generations of the filter, and room for the connections' buffers.
const BOUND: u64 = 8 * 1024 * 1024;
/// Unique proofs until the tier must be full.
const SPIKE: usize = 4_000;
const LINES: usize = 8;
/// Proofs whose replays are looked at.
const SAMPLE: usize = 25;
const FRESH: usize = 200;
/// A look of the gateway at its tier takes place every 5 s.
const DETECT_WITHIN: Duration = Duration::from_secs(15);
/// Long enough for a rate over a minute to show it and for `for: 15s`.
const ALERTED: Duration = Duration::from_secs(32);

pub(super) async fn run(
    form: Form,
    objective: Duration,
    house: &mut House,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let house = &*house;
    let mut tier = house.session_tier().await?;
    let limit = memory(&mut tier).await?.1;
    let steady = house.until("a whole dashboard", objective, is_whole).await;
    seen.took(Step::Steady, "every widget is ok", steady);
    let thief = Thief::with(house, LINES)?;
    let before = used(&thief, Step::Steady, "proofs are let in and noted exactly", seen).await?;

    let room = memory(&mut tier).await?.0 + LEFT;
    set_limit(&mut tier, room).await?;
    let struck = Instant::now();
    let sent = spike(house, &thief).await?;
    let what = format!("unique proofs until {} KiB of memory are full", LEFT / 1024);
    seen.expect(Step::Fault, what, sent < SPIKE, format!("{sent} proofs"));
    detection(form, struck, house, &thief, seen).await?;
    user(house, &thief, seen).await?;
    let during = used(&thief, Step::User, "under pressure fresh proofs are let in", seen).await?;
    replayed(Step::Automatic, "burnt before the pressure", &thief, &before, seen).await;
    replayed(Step::Automatic, "burnt under pressure", &thief, &during, seen).await;
    let most = memory(&mut tier).await?.0;
    seen.expect(
        Step::Automatic,
        format!("memory stays within {} MiB of the limit", BOUND / 1024 / 1024),
        most < room + BOUND,
        format!("{} KiB above", most.saturating_sub(room) / 1024),
    );
    recovery(limit, objective, house, &mut tier, &thief, seen).await?;
    replayed(Step::Recovery, "burnt under pressure", &thief, &during, seen).await;
    Ok(())
}

/// Fresh requests until the filter is asked. Answers how many it took.
async fn spike(house: &House, thief: &Thief<'_>) -> anyhow::Result<usize> {
    let mut sent = 0;
    while sent < SPIKE && filtered(house).await? < 0.5 {
        thief.flood(&thief.steal_many(FRESH).await?, 1, false).await;
        sent += FRESH;
        // Without the filter nothing else tells that the tier is full.
        if house.safeguards_off.contains(&Safeguard::ReplayFilter) && sent >= SPIKE / 2 {
            break;
        }
    }
    Ok(sent)
}

async fn detection(
    form: Form,
    struck: Instant,
    house: &House,
    thief: &Thief<'_>,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let noticed = house
        .until("the filter", DETECT_WITHIN, async |house| {
            thief.fresh(0).await?;
            Ok(filtered(house).await? > 0.0)
        })
        .await;
    let what = format!("{STORE} says that the filter judges");
    let took = seen.took(Step::Detection, what, noticed).map(|_| struck.elapsed());
    seen.detected_after(took);
    let is_full = async |house: &House| Ok(house.metric(RATIO, &[]).await? > 0.8);
    let noticed = house.until("a full tier", DETECT_WITHIN, is_full).await;
    seen.took(Step::Detection, format!("{RATIO} says that the tier is full"), noticed);
    if form == Form::Full {
        let exported = || (house.http(), house.metrics_url());
        let watching = Box::pin(house.watch(ALERTED, Duration::from_millis(100)));
        let also = Box::pin(async {
            let (_, fired) = alerts::during(FILTER, exported(), watching).await;
            fired
        });
        let (fired, full) = alerts::during(FULL, exported(), also).await;
        seen.took(Step::Detection, format!("{FILTER} fires on the exported metrics"), fired);
        seen.took(Step::Detection, format!("{FULL} fires on the exported metrics"), full);
    }
    Ok(())
}

/// Desks work on; one whose fresh proof the filter takes for used makes another.
async fn user(house: &House, thief: &Thief<'_>, seen: &mut Observations) -> anyhow::Result<()> {
    let (mut again, mut lost) = (0, 0);
    for number in 0..FRESH {
        if thief.fresh(number).await? != Answer::Accepted {
            again += 1;
            lost += usize::from(thief.fresh(number).await? != Answer::Accepted);
        }
    }
    seen.expect(
        Step::User,
        "every fresh request is answered, at the latest with a second proof",
        lost == 0 && again <= FRESH / 50,
        format!("{FRESH} requests, {again} with a second proof, {lost} lost"),
    );
    let during = house.watch(Duration::from_secs(2), Duration::from_millis(40)).await;
    let good = during.iter().filter(|seen| Seen::is_whole(seen)).count();
    seen.expect(
        Step::User,
        "and every dashboard is whole",
        good == during.len() && good > 0,
        format!("{good} of {}", during.len()),
    );
    Ok(())
}

async fn recovery(
    limit: u64,
    objective: Duration,
    house: &House,
    tier: &mut MultiplexedConnection,
    thief: &Thief<'_>,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    set_limit(tier, limit).await?;
    let exact = house
        .until("an exact answer", objective, async |house| {
            let before = filtered(house).await?;
            let exactly = noted(house, "shared").await?;
            let fresh = [thief.fresh(0).await?, thief.fresh(1).await?];
            let is_let_in = fresh.iter().all(|answer| *answer == Answer::Accepted);
            let more = filtered(house).await? - before;
            Ok(is_let_in && more < 0.5 && noted(house, "shared").await? > exactly + 1.5)
        })
        .await;
    let took = seen.took(Step::Recovery, "with memory again, proofs are noted exactly", exact);
    seen.recovered_after(took);
    Ok(())
}

/// Lets some proofs be used, half of them at each instance.
async fn used(
    thief: &Thief<'_>,
    step: Step,
    expected: &str,
    seen: &mut Observations,
) -> anyhow::Result<Vec<Stolen>> {
    let stolen = thief.steal_many(SAMPLE).await?;
    let tally = thief.flood(&stolen, 1, false).await;
    let held = tally.used() + 1 >= SAMPLE;
    seen.expect(step, expected, held, format!("{} of {SAMPLE}", tally.used()));
    Ok(stolen)
}

/// Each is sent twice again, to both instances.
async fn replayed(
    step: Step,
    what: &str,
    thief: &Thief<'_>,
    stolen: &[Stolen],
    seen: &mut Observations,
) {
    let mut refused = 0;
    for one in stolen {
        for instance in 0..2 {
            refused += usize::from(thief.send(instance, one).await == Answer::Refused);
        }
    }
    let all = stolen.len() * 2;
    seen.expect(
        step,
        format!("what was {what} is refused by both instances"),
        refused == all,
        format!("{refused} of {all}"),
    );
}

async fn filtered(house: &House) -> anyhow::Result<f64> {
    noted(house, "filter").await
}

async fn noted(house: &House, store: &str) -> anyhow::Result<f64> {
    house.metric_everywhere(STORE, &[("store", store)]).await
}

async fn is_whole(house: &House) -> anyhow::Result<bool> {
    Ok(house.dashboard().await.is_whole())
}

/// Bytes in use, and the limit.
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
