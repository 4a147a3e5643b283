//! Every upstream of the dashboard in every way it can fail, dashboards asked cold: each is 200
//! inside the deadline, lacks what comes from that upstream and nothing else, and is whole again
//! when the upstream is well. Then the same with answers kept: what was read is shown with its age.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use composer::WIDGETS;
use composer::compose::ROUTE_DEADLINE;

use super::Form;
use crate::house::{House, Seen, fault};
use crate::observations::{Observations, Step};

mod kept;
mod others;

/// The ways, and the reason a widget gives for each as long as the breaker lets its calls through.
const KINDS: [(&str, &str); 8] = [
    ("status", "UPSTREAM_ERROR"),
    ("refuse", "UPSTREAM_UNAVAILABLE"),
    ("hang", "UPSTREAM_TIMEOUT"),
    ("reset", "UPSTREAM_UNAVAILABLE"),
    ("half_body", "UPSTREAM_UNAVAILABLE"),
    ("huge_body", "RESPONSE_TOO_LARGE"),
    ("drip", "UPSTREAM_TIMEOUT"),
    ("drift", "SCHEMA_DRIFT"),
];
/// The route's p99 may be longer than its deadline by a tenth.
const P99_WITHIN: Duration = Duration::from_millis(ROUTE_DEADLINE.as_millis() as u64 * 11 / 10);
/// So many of each cell: those before the breaker opens, and as many after.
const DASHBOARDS: usize = 10;

/// One upstream failing in one way, and what came of it.
struct Cell {
    upstream: &'static str,
    during: Vec<Seen>,
    /// Until a dashboard was whole again.
    recovery: anyhow::Result<Duration>,
}

pub(super) async fn run(
    form: Form,
    objective: Duration,
    house: &mut House,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    house.keep(false).await?;
    let whole = async |house: &House| Ok(house.dashboard().await.is_whole());
    let steady = house.until("a whole dashboard", objective, whole).await;
    seen.took(Step::Steady, "nothing is kept, and every widget is ok", steady);
    let widgets = widgets();
    for (number, (kind, reason)) in KINDS.into_iter().enumerate() {
        let mut cells = Vec::new();
        let chosen = widgets.keys().copied().enumerate();
        // Of a short run each upstream fails in one way.
        let chosen = chosen.filter(|(at, _)| form == Form::Full || at % KINDS.len() == number);
        for (_, upstream) in chosen {
            cells.push(cell(upstream, kind, objective, house).await?);
        }
        told((kind, reason), &cells, &widgets, objective, seen);
    }
    others::run(form, house, seen).await?;
    kept::run(objective, house, seen).await
}

/// The widgets that come from each upstream.
fn widgets() -> BTreeMap<&'static str, BTreeSet<String>> {
    let mut widgets: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
    for widget in &WIDGETS {
        let Some(upstream) = widget.policy.upstream else { continue };
        widgets.entry(upstream.name()).or_default().insert(widget.name.to_owned());
    }
    widgets
}

async fn cell(
    upstream: &'static str,
    kind: &str,
    objective: Duration,
    house: &House,
) -> anyhow::Result<Cell> {
    house.fault(&fault(upstream, kind)).await?;
    let mut during = Vec::new();
    while during.len() < DASHBOARDS {
        let dashboard = house.dashboard().await;
        let is_lost = dashboard.status.is_none();
        during.push(dashboard);
        // One that never came is enough to tell.
        if is_lost {
            break;
        }
    }
    house.clear_faults().await?;
    let recovery = house
        .until("a whole dashboard", objective, async |house| Ok(house.dashboard().await.is_whole()))
        .await;
    Ok(Cell { upstream, during, recovery })
}

fn told(
    (kind, reason): (&str, &str),
    cells: &[Cell],
    widgets: &BTreeMap<&str, BTreeSet<String>>,
    objective: Duration,
    seen: &mut Observations,
) {
    let all = || cells.iter().flat_map(|cell| &cell.during);
    let (good, count) = (all().filter(|it| it.status == Some(200)).count(), all().count());
    let what = format!("{kind} at each of {} upstreams: every dashboard is 200", cells.len());
    seen.expect(Step::User, what, good == count && count > 0, format!("{good} of {count}"));

    let is_odd = |cell: &&Cell| cell.during.iter().any(|it| it.missed() != widgets[cell.upstream]);
    let odd: Vec<String> = cells.iter().filter(is_odd).map(lacked).collect();
    let what = format!("{kind}: of the upstreams' widgets exactly its own are lacking");
    seen.expect(Step::User, what, odd.is_empty(), format!("otherwise at {odd:?}"));

    let untold = |cell: &&Cell| !cell.during.iter().any(|it| gives(it, cell.upstream, reason));
    let untold: Vec<&str> = cells.iter().filter(untold).map(|cell| cell.upstream).collect();
    let what = format!("{kind}: and say {reason}");
    seen.expect(Step::User, what, untold.is_empty(), format!("not at {untold:?}"));

    let times = Times::of(all());
    let what = format!("{kind}: the p99 is within {} ms", P99_WITHIN.as_millis());
    seen.expect(Step::User, what, times.p99 <= P99_WITHIN, &times);

    let slowest = cells.iter().filter_map(|cell| cell.recovery.as_ref().ok()).max().copied();
    let late: Vec<&str> =
        cells.iter().filter(|cell| cell.recovery.is_err()).map(|cell| cell.upstream).collect();
    let what = format!("{kind}: whole again within {} s by itself", objective.as_secs());
    let found = format!("slowest {} ms", slowest.unwrap_or_default().as_millis());
    seen.expect(Step::Recovery, what, late.is_empty(), format!("{found}, not after {late:?}"));
    seen.recovered_after(slowest);
}

/// Whether a widget of this upstream is lacking for this reason.
fn gives(dashboard: &Seen, upstream: &str, reason: &str) -> bool {
    let widgets = dashboard.body["widgets"].as_object();
    let mut widgets = widgets.into_iter().flat_map(|widgets| widgets.values());
    widgets.any(|it| it["source"] == upstream && it["reason"] == reason)
}

/// For a report: which upstream, and what was lacking in any of its dashboards.
fn lacked(cell: &Cell) -> String {
    let sets: BTreeSet<_> = cell.during.iter().map(|it| format!("{:?}", it.missed())).collect();
    format!("{}: {sets:?}", cell.upstream)
}

/// How long dashboards took.
struct Times {
    count: usize,
    p50: Duration,
    p99: Duration,
}

impl Times {
    fn of<'a>(dashboards: impl Iterator<Item = &'a Seen>) -> Self {
        let mut all: Vec<Duration> = dashboards.map(|dashboard| dashboard.took).collect();
        all.sort_unstable();
        let count = all.len();
        // The nearest rank.
        let at = |percent: usize| (count * percent).div_ceil(100).max(1) - 1;
        let of = |percent| all.get(at(percent)).copied().unwrap_or(Duration::MAX);
        Self { count, p50: of(50), p99: of(99) }
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (p50, p99) = (self.p50.as_millis(), self.p99.as_millis());
        write!(f, "p50 {p50} ms, p99 {p99} ms of {}", self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eleven_upstreams_fill_all_widgets_but_the_gateways_own() {
        let widgets = widgets();
        assert_eq!(widgets.len(), 11);
        assert_eq!(widgets.values().map(BTreeSet::len).sum::<usize>(), WIDGETS.len() - 1);
    }
}
