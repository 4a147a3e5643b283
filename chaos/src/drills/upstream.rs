//! An upstream of the dashboard fails. Its widgets become unavailable or stale, the others stay ok,
//! responses are in time, and it recovers automatically.
//!
//! Upstreams whose widgets differ can fail at the same time, each with findings of its own.

use std::collections::BTreeSet;
use std::time::Duration;

use super::other_manager::OtherManager;
use super::read_probe::ReadProbe;
use super::widget_states::{
    LastData, Moment, Shown, check_hidden, check_others, check_without_data,
};
use super::widgets;
use crate::drill_env::{DashboardView, DrillEnv, stand_in_fault};
use crate::drill_run::{Drill, DrillFuture, DrillRun, EnvAfter, Load};
use crate::events;

/// The route's deadline plus connection overhead on a busy machine.
const ANSWER_WITHIN: Duration = Duration::from_millis(700);
const DETECT_WITHIN: Duration = Duration::from_secs(15);
const WATCH_DURATION: Duration = Duration::from_secs(3);
const REQUEST_PAUSE: Duration = Duration::from_millis(40);

/// Fault of an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// `kill -9`
    Kill(&'static str),
    /// SIGSTOP: keeps its port and connections and does not respond.
    Pause(&'static str),
    /// Its database connections end and new ones are refused, so that it responds with 503.
    TakeDatabase(&'static str),
    /// Stand-in fault.
    StandIn { upstream: &'static str, kind: &'static str },
}

impl Fault {
    pub(super) fn upstream(self) -> &'static str {
        match self {
            Self::Kill(name) | Self::Pause(name) | Self::TakeDatabase(name) => name,
            Self::StandIn { upstream, .. } => upstream,
        }
    }

    pub(super) fn sentence(self) -> String {
        match self {
            Self::Kill(name) => format!("{name} is killed with -9"),
            Self::Pause(name) => format!("{name} is stopped with SIGSTOP"),
            Self::TakeDatabase(name) => format!("{name} loses its database and responds with 503"),
            Self::StandIn { upstream, kind } => format!("{upstream}: {kind}"),
        }
    }

    pub(super) async fn inject(self, env: &DrillEnv) -> anyhow::Result<()> {
        match self {
            Self::Kill(name) => env.stack.process(name)?.kill().await,
            Self::Pause(name) => env.stack.process(name)?.pause().await,
            Self::TakeDatabase(name) => env.set_database_available(name, false).await,
            Self::StandIn { upstream, kind } => {
                env.add_fault(&stand_in_fault(upstream, kind)).await
            }
        }
    }

    pub(super) async fn undo(self, env: &mut DrillEnv) -> anyhow::Result<()> {
        match self {
            Self::Kill(name) => env.stack.restart(name).await.map(drop),
            Self::Pause(name) => env.stack.process(name)?.resume().await,
            Self::TakeDatabase(name) => env.set_database_available(name, true).await,
            Self::StandIn { .. } => env.clear_faults().await,
        }
    }
}

#[derive(Debug)]
pub(super) struct UpstreamDrill {
    pub(super) faults: &'static [Fault],
    /// Alert that must fire on the first fault in a full run.
    pub(super) alert: &'static str,
    /// What its widgets show meanwhile.
    pub(super) shown: Shown,
    /// Other reads that the upstream serves.
    pub(super) reads: &'static [ReadProbe],
}

impl Drill for UpstreamDrill {
    fn leaves(&self) -> EnvAfter {
        if self.faults.iter().any(|fault| matches!(fault, Fault::Kill(_))) {
            EnvAfter::Restarted(&["bff", "inventory", "housekeeping", "staff"])
        } else {
            EnvAfter::Restarted(&["bff"])
        }
    }

    fn load(&self) -> Load {
        Load::Timed
    }

    fn run<'a>(&'a self, run: &'a mut DrillRun) -> DrillFuture<'a> {
        Box::pin(self.run_drill(run))
    }
}

impl UpstreamDrill {
    pub(super) async fn run_drill(&self, run: &mut DrillRun) -> anyhow::Result<()> {
        drill_together(run, &[self]).await
    }
}

/// Drills of other upstreams, whose faults are in force at the same time. Each has a row of its own.
#[derive(Debug)]
pub(super) struct Together(pub(super) &'static [&'static UpstreamDrill]);

impl Drill for Together {
    fn leaves(&self) -> EnvAfter {
        EnvAfter::Restarted(&["bff"])
    }

    fn load(&self) -> Load {
        Load::Timed
    }

    fn run<'a>(&'a self, run: &'a mut DrillRun) -> DrillFuture<'a> {
        Box::pin(drill_together(run, self.0))
    }
}

/// Makes the first fault of each drill, then the second of each. `drills` are in the order of their rows.
async fn drill_together(run: &mut DrillRun, drills: &[&UpstreamDrill]) -> anyhow::Result<()> {
    // Another drill may have read the other hotel's data.
    run.env.forget_responses().await?;
    let most = drills.iter().map(|drill| drill.faults.len()).max().unwrap_or_default();
    for number in 0..most {
        let rows = drills.iter().enumerate();
        let cases = rows.filter_map(|(row, drill)| {
            Some(Case { row, drill, fault: *drill.faults.get(number)?, is_first: number == 0 })
        });
        drill_faults(run, &cases.collect::<Vec<_>>()).await?;
    }
    Ok(())
}

async fn drill_faults(run: &mut DrillRun, cases: &[Case<'_>]) -> anyhow::Result<()> {
    let steady = run.until_whole().await;
    let mut before = Vec::new();
    for case in cases {
        run.choose_row(case.row);
        run.steady_within("every widget is ok", copy(&steady));
        before.push(Before::of(run, case).await?);
    }
    for case in cases {
        events::invalidate(&run.env, case.fault.upstream()).await?;
    }
    let injected = Moment::now();
    for case in cases {
        run.choose_row(case.row);
        case.fault.inject(&run.env).await?;
        run.inject(case.fault.sentence());
    }
    run.choose_row(0);
    let first = cases.iter().filter(|case| case.is_first);
    let alerts: Vec<_> = first.map(|case| case.drill.alert).collect();
    let length = run.watch_length(&alerts, WATCH_DURATION)?;
    let watching = run.env.watch(length, REQUEST_PAUSE);
    let during = run.raised_during(&alerts, injected.at, watching).await?;
    let failing: BTreeSet<_> = before.iter().flat_map(|before| before.own.clone()).collect();
    for (case, before) in cases.iter().zip(&before) {
        run.choose_row(case.row);
        case.check(run, before, &During { views: &during, failing: &failing, injected }).await?;
    }
    for case in cases {
        case.fault.undo(&mut run.env).await?;
    }
    let back = run.until_whole().await;
    for case in cases {
        run.choose_row(case.row);
        run.recover_within("every widget is ok again", copy(&back));
    }
    Ok(())
}

/// The outcome of a step of all rows, for one of them.
fn copy(outcome: &anyhow::Result<Duration>) -> anyhow::Result<Duration> {
    outcome.as_ref().copied().map_err(|error| anyhow::anyhow!("{error:#}"))
}

/// One fault of a drill.
struct Case<'a> {
    row: usize,
    drill: &'a UpstreamDrill,
    fault: Fault,
    is_first: bool,
}

/// What was observed while faults were in force.
struct During<'a> {
    views: &'a [DashboardView],
    /// Widgets of all upstreams that failed.
    failing: &'a BTreeSet<String>,
    injected: Moment,
}

/// An upstream before its fault.
struct Before {
    /// Its widgets.
    own: BTreeSet<String>,
    last_data: LastData,
    other: OtherManager,
    /// Whether the other hotel has no data of the upstream.
    is_unread: bool,
    failures: f64,
    spared: f64,
}

impl Before {
    /// Reads what the upstream's widgets show, and signs the other hotel's manager in.
    async fn of(run: &DrillRun, case: &Case<'_>) -> anyhow::Result<Self> {
        let Case { drill, fault, .. } = case;
        for read in drill.reads {
            read.open(&run.env).await?;
        }
        let own = widgets::of_upstream(fault.upstream());
        let last_data = LastData::of(&run.env.dashboard().await, &own)?;
        let other = OtherManager::find(&run.env)?;
        other.desktop.access_token().await?;
        // An earlier fault of another upstream has made the other hotel read this one's data.
        let mut earlier = drill.faults.iter().take_while(|earlier| *earlier != fault);
        let is_unread = earlier.all(|earlier| earlier.upstream() == fault.upstream());
        let (failures, spared) =
            (failures(&run.env, *fault).await?, spared(&run.env, *fault).await?);
        Ok(Self { own, last_data, other, is_unread, failures, spared })
    }
}

impl Case<'_> {
    async fn check(
        &self,
        run: &DrillRun,
        before: &Before,
        during: &During<'_>,
    ) -> anyhow::Result<()> {
        self.check_user_view(run, before, during).await;
        for read in self.drill.reads {
            read.check(run).await?;
        }
        let fault = self.fault;
        let has_failed = async |env: &DrillEnv| Ok(failures(env, fault).await? > before.failures);
        let signal = run.env.wait_until("the failure counter", DETECT_WITHIN, has_failed).await;
        run.detect_within("bff_backoffice_upstream_request_total counts its failures", signal);
        let mut views = during.views.iter();
        let not_ok = views.find(|view| !view.not_ok.is_disjoint(&before.own));
        let noticed = not_ok.map(|first| first.at + first.took - during.injected.at);
        run.detected_after(noticed);
        let spared = spared(&run.env, fault).await? - before.spared;
        let what = "the breaker opened and spared the upstream calls";
        run.automatic(what, spared > 0.0, format!("{spared:.0} calls spared"));
        Ok(())
    }

    async fn check_user_view(&self, run: &DrillRun, before: &Before, during: &During<'_>) {
        let Before { own, last_data, other, is_unread, .. } = before;
        check_dashboards(run, during, own);
        match self.drill.shown {
            Shown::LastData => last_data.check(run, during.views, during.injected),
            Shown::Hidden => check_hidden(run, during.views, own),
        }
        if *is_unread {
            check_without_data(run, other, own, during.failing).await;
        }
    }
}

/// Number of failed calls to the upstream so far.
pub(super) async fn failures(env: &DrillEnv, fault: Fault) -> anyhow::Result<f64> {
    let name = "bff_backoffice_upstream_request_total";
    let all = env.counter(name, &[("upstream", fault.upstream())]).await?;
    let good = env.counter(name, &[("upstream", fault.upstream()), ("outcome", "ok")]).await?;
    Ok(all - good)
}

fn check_dashboards(run: &DrillRun, during: &During<'_>, own: &BTreeSet<String>) {
    let During { views: during, failing, .. } = during;
    let count = during.len();
    let good = during.iter().filter(|dashboard| dashboard.status == Some(200)).count();
    run.user("every dashboard is 200", good == count && count > 0, format!("{good} of {count}"));
    let slowest = during.iter().map(|dashboard| dashboard.took).max().unwrap_or_default();
    run.user_in_time(slowest, ANSWER_WITHIN);
    let missed: BTreeSet<_> =
        during.iter().flat_map(DashboardView::upstream_widgets_not_ok).collect();
    check_others(run, during, failing);
    run.user("its widgets are not ok", missed.is_superset(own), format!("{missed:?}"));
}

/// Number of calls to the upstream that the breaker refused so far.
async fn spared(env: &DrillEnv, fault: Fault) -> anyhow::Result<f64> {
    let labels = [("upstream", fault.upstream()), ("outcome", "BREAKER_OPEN")];
    env.counter("bff_backoffice_upstream_request_total", &labels).await
}
