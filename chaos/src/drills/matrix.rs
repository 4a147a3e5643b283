//! Every upstream of the dashboard fails in every way, with a cold cache. Each dashboard is 200 within
//! the deadline, only widgets of that upstream are not ok, and it is whole again afterwards. Then the
//! same with cached responses, and with one tenant affected.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use composer::compose::ROUTE_DEADLINE;

use super::upstream::UpstreamDrill;
use super::widgets;
use crate::drill_env::{DashboardView, DrillEnv, EnvOptions, stand_in_fault};
use crate::drill_run::{Drill, DrillFuture, DrillRun, EnvAfter, Load, Mode};

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

/// First one upstream accepts requests and never responds, and the process of another is stopped.
#[derive(Debug)]
pub(super) struct Deadlines(pub(super) UpstreamDrill);

impl Drill for Deadlines {
    fn environment<'a>(&self, options: EnvOptions<'a>) -> EnvOptions<'a> {
        EnvOptions { faults_on_services: true, ..options }
    }

    fn leaves(&self) -> EnvAfter {
        EnvAfter::Restarted(&["bff"])
    }

    fn load(&self) -> Load {
        Load::Timed
    }

    fn run<'a>(&'a self, run: &'a mut DrillRun) -> DrillFuture<'a> {
        Box::pin(async move {
            self.0.run_drill(run).await?;
            run_matrix(run).await
        })
    }
}

async fn run_matrix(run: &mut DrillRun) -> anyhow::Result<()> {
    run.env.keep(false).await?;
    let steady = run.until_whole().await;
    run.steady_within("the cache is off, and every widget is ok", steady);
    let widgets = widgets::by_upstream();
    for (number, (kind, reason)) in KINDS.into_iter().enumerate() {
        run.inject(format!("each upstream: {kind}"));
        let mut cells = Vec::new();
        let chosen = widgets.keys().copied().enumerate();
        // In a short run each upstream fails in one way only.
        let chosen = chosen.filter(|(at, _)| run.mode == Mode::Full || at % KINDS.len() == number);
        for (_, upstream) in chosen {
            cells.push(run_cell(upstream, kind, run.objective, &run.env).await?);
        }
        check_cells(run, reason, &cells, &widgets);
    }
    other_tenant::run(run).await?;
    cached::run(run).await
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
    run: &DrillRun,
    reason: &str,
    cells: &[Cell],
    widgets: &BTreeMap<&str, BTreeSet<String>>,
) {
    let all = || cells.iter().flat_map(|cell| &cell.during);
    let (good, count) = (all().filter(|view| view.status == Some(200)).count(), all().count());
    run.user("every dashboard is 200", good == count && count > 0, format!("{good} of {count}"));

    let is_odd = |cell: &&Cell| {
        cell.during.iter().any(|view| view.upstream_widgets_not_ok() != widgets[cell.upstream])
    };
    let odd: Vec<String> = cells.iter().filter(is_odd).map(describe_cell).collect();
    let what = "exactly the widgets of this upstream are not ok";
    run.user(what, odd.is_empty(), format!("otherwise at {odd:?}"));

    let unreported =
        |cell: &&Cell| !cell.during.iter().any(|view| has_reason(view, cell.upstream, reason));
    let unreported: Vec<&str> = cells.iter().filter(unreported).map(|cell| cell.upstream).collect();
    let found = format!("{reason}, not at {unreported:?}");
    run.user("with the fault's reason", unreported.is_empty(), found);

    let times = Times::of(all());
    run.user("the p99 is in time", times.p99 <= P99_WITHIN, &times);

    let slowest = cells.iter().filter_map(|cell| cell.recovery.as_ref().ok()).max().copied();
    let late: Vec<&str> =
        cells.iter().filter(|cell| cell.recovery.is_err()).map(|cell| cell.upstream).collect();
    let what = "whole again, automatically";
    let found = format!("slowest {} ms", slowest.unwrap_or_default().as_millis());
    run.recover(what, late.is_empty(), format!("{found}, not after {late:?}"));
    run.recovered_after(slowest);
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
