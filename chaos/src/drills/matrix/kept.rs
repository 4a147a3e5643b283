//! Upstreams that hang while their last answers are kept: those are shown with their age, and
//! nobody waits for the deadline.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Times, widgets};
use crate::house::{House, Seen, fault};
use crate::observations::{Observations, Step};

/// Those whose answers are fresh for ten seconds at most.
const HANGING: [&str; 3] = ["reservation", "housekeeping", "notification"];
/// Long enough for every answer of theirs to be past its freshness.
const UNTIL_OLD: Duration = Duration::from_secs(13);
const WATCHED: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(50);
/// What a kept answer's successor is waited for, 100 ms, and the rest of a dashboard.
const P99_WITHIN: Duration = Duration::from_millis(250);

pub(super) async fn run(
    objective: Duration,
    house: &mut House,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    house.keep(true).await?;
    let whole = async |house: &House| Ok(house.dashboard().await.is_whole());
    let steady = house.until("a whole dashboard", objective, whole).await;
    seen.took(Step::Steady, "answers are kept, and every widget is ok", steady);
    for upstream in HANGING {
        house.fault(&fault(upstream, "hang")).await?;
    }
    let wanted = wanted();
    let old = async |house: &House| Ok(house.dashboard().await.missed() == wanted);
    let old = house.until("the end of what is fresh", UNTIL_OLD, old).await;
    seen.took(Step::Detection, format!("{HANGING:?} hang: {wanted:?} are not ok"), old);
    let during = watch(house).await;
    told(&during, &wanted, seen);
    house.clear_faults().await?;
    let back = house.until("a whole dashboard", objective, whole).await;
    seen.took(Step::Recovery, "and every widget is ok again", back);
    Ok(())
}

fn wanted() -> BTreeSet<String> {
    let mut widgets = widgets();
    HANGING.iter().flat_map(|upstream| widgets.remove(upstream).unwrap_or_default()).collect()
}

async fn watch(house: &House) -> Vec<Seen> {
    let (end, mut during) = (Instant::now() + WATCHED, Vec::new());
    while Instant::now() < end {
        during.push(house.dashboard().await);
        sleep(PAUSE).await;
    }
    during
}

fn told(during: &[Seen], wanted: &BTreeSet<String>, seen: &mut Observations) {
    let good = during.iter().filter(|it| is_stale(it, wanted)).count();
    seen.expect(
        Step::User,
        "with answers kept: the last ones are shown as stale, with their age and the reason",
        good == during.len() && good > 0,
        format!("{good} of {} dashboards", during.len()),
    );
    let times = Times::of(during.iter());
    let what = format!("with answers kept: the p99 is within {} ms", P99_WITHIN.as_millis());
    seen.expect(Step::User, what, times.p99 <= P99_WITHIN, &times);
}

/// 200, and lacking these alone, each of them with what was read.
fn is_stale(dashboard: &Seen, wanted: &BTreeSet<String>) -> bool {
    let shows = |name: &String| {
        let widget = &dashboard.body["widgets"][name];
        let aged = widget["ageMs"].as_u64().is_some_and(|age| age > 0);
        widget["status"] == "stale"
            && aged
            && widget["reason"].is_string()
            && !widget["data"].is_null()
    };
    dashboard.status == Some(200) && dashboard.missed() == *wanted && wanted.iter().all(shows)
}
