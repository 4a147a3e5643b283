//! Every upstream of the dashboard fails in every way, with a cold cache. Each dashboard is 200 within
//! the deadline, only widgets of that upstream are not ok, and it is whole again afterwards. Then the
//! same with cached responses, and with one tenant affected.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use composer::compose::ROUTE_DEADLINE;

use super::{Mode, widgets};
use crate::drill_env::{DashboardView, DrillEnv, stand_in_fault};
use crate::observations::{Observations, Step};

mod cached;
mod other_tenant;

/// Fault kinds, and the widget's reason while the breaker is closed.
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
/// The p99 may exceed the route's deadline by a tenth.
const P99_WITHIN: Duration = Duration::from_millis(ROUTE_DEADLINE.as_millis() as u64 * 11 / 10);
/// Dashboards per cell: about half before the breaker opens, half after.
const DASHBOARDS: usize = 10;

/// One upstream failing in one way, with the observations.
struct Cell {
    upstream: &'static str,
    during: Vec<DashboardView>,
    /// Time until a dashboard was whole again.
    recovery: anyhow::Result<Duration>,
}

pub(super) async fn run(
    mode: Mode,
    objective: Duration,
    env: &mut DrillEnv,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    env.keep(false).await?;
    let whole = async |env: &DrillEnv| Ok(env.dashboard().await.is_whole());
    let steady = env.wait_until("a whole dashboard", objective, whole).await;
    seen.check_timed(Step::Steady, "the cache is off, and every widget is ok", steady);
    let widgets = widgets::by_upstream();
    for (number, (kind, reason)) in KINDS.into_iter().enumerate() {
        let mut cells = Vec::new();
        let chosen = widgets.keys().copied().enumerate();
        // In a short run each upstream fails in one way only.
        let chosen = chosen.filter(|(at, _)| mode == Mode::Full || at % KINDS.len() == number);
        for (_, upstream) in chosen {
            cells.push(run_cell(upstream, kind, objective, env).await?);
        }
        check_cells(kind, reason, &cells, &widgets, objective, seen);
    }
    other_tenant::run(mode, env, seen).await?;
    cached::run(objective, env, seen).await
}

async fn run_cell(
    upstream: &'static str,
    kind: &str,
    objective: Duration,
    env: &DrillEnv,
) -> anyhow::Result<Cell> {
    env.add_fault(&stand_in_fault(upstream, kind)).await?;
    let mut during = Vec::new();
    while during.len() < DASHBOARDS {
        let dashboard = env.dashboard().await;
        let is_lost = dashboard.status.is_none();
        during.push(dashboard);
        // One missing response is enough for the finding.
        if is_lost {
            break;
        }
    }
    env.clear_faults().await?;
    let recovery = env
        .wait_until("a whole dashboard", objective, async |env| {
            Ok(env.dashboard().await.is_whole())
        })
        .await;
    Ok(Cell { upstream, during, recovery })
}

fn check_cells(
    kind: &str,
    reason: &str,
    cells: &[Cell],
    widgets: &BTreeMap<&str, BTreeSet<String>>,
    objective: Duration,
    seen: &mut Observations,
) {
    let all = || cells.iter().flat_map(|cell| &cell.during);
    let (good, count) = (all().filter(|view| view.status == Some(200)).count(), all().count());
    let what = format!("{kind} at each of {} upstreams: every dashboard is 200", cells.len());
    seen.check(Step::User, what, good == count && count > 0, format!("{good} of {count}"));

    let is_odd = |cell: &&Cell| {
        cell.during.iter().any(|view| view.upstream_widgets_not_ok() != widgets[cell.upstream])
    };
    let odd: Vec<String> = cells.iter().filter(is_odd).map(describe_cell).collect();
    let what = format!("{kind}: exactly the widgets of this upstream are not ok");
    seen.check(Step::User, what, odd.is_empty(), format!("otherwise at {odd:?}"));

    let unreported =
        |cell: &&Cell| !cell.during.iter().any(|view| has_reason(view, cell.upstream, reason));
    let unreported: Vec<&str> = cells.iter().filter(unreported).map(|cell| cell.upstream).collect();
    let what = format!("{kind}: with reason {reason}");
    seen.check(Step::User, what, unreported.is_empty(), format!("not at {unreported:?}"));

    let times = Times::of(all());
    let what = format!("{kind}: the p99 is within {} ms", P99_WITHIN.as_millis());
    seen.check(Step::User, what, times.p99 <= P99_WITHIN, &times);

    let slowest = cells.iter().filter_map(|cell| cell.recovery.as_ref().ok()).max().copied();
    let late: Vec<&str> =
        cells.iter().filter(|cell| cell.recovery.is_err()).map(|cell| cell.upstream).collect();
    let what = format!("{kind}: whole again within {} s, automatically", objective.as_secs());
    let found = format!("slowest {} ms", slowest.unwrap_or_default().as_millis());
    seen.check(Step::Recovery, what, late.is_empty(), format!("{found}, not after {late:?}"));
    seen.recovered_after(slowest);
}

/// Whether a widget of this upstream is not ok for this reason.
fn has_reason(dashboard: &DashboardView, upstream: &str, reason: &str) -> bool {
    let widgets = dashboard.body["widgets"].as_object();
    let mut widgets = widgets.into_iter().flat_map(|widgets| widgets.values());
    widgets.any(|widget| widget["source"] == upstream && widget["reason"] == reason)
}

/// One line for the report: the upstream, and the sets of widgets that were not ok.
fn describe_cell(cell: &Cell) -> String {
    let sets: BTreeSet<_> =
        cell.during.iter().map(|view| format!("{:?}", view.upstream_widgets_not_ok())).collect();
    format!("{}: {sets:?}", cell.upstream)
}

/// Distribution of dashboard durations.
struct Times {
    count: usize,
    p50: Duration,
    p99: Duration,
}

impl Times {
    fn of<'a>(dashboards: impl Iterator<Item = &'a DashboardView>) -> Self {
        let mut all: Vec<Duration> = dashboards.map(|dashboard| dashboard.took).collect();
        all.sort_unstable();
        let count = all.len();
        // Nearest-rank percentile.
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
