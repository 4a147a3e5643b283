//! An upstream of the dashboard fails. Its widgets become unavailable or stale, the others stay ok,
//! responses are in time, and it recovers automatically.

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
        // Another drill may have read the other hotel's data.
        run.env.forget_responses().await?;
        for (number, fault) in self.faults.iter().enumerate() {
            let alerts: &[_] = if number == 0 { &[self.alert] } else { &[] };
            self.drill_fault(run, *fault, alerts).await?;
        }
        Ok(())
    }

    async fn drill_fault(
        &self,
        run: &mut DrillRun,
        fault: Fault,
        alerts: &[&'static str],
    ) -> anyhow::Result<()> {
        let steady = run.until_whole().await;
        run.steady_within("every widget is ok", steady);
        for read in self.reads {
            read.open(&run.env).await?;
        }
        let (before, spared) = (failures(&run.env, fault).await?, spared(&run.env, fault).await?);
        let view = self.view_before(run, fault).await?;
        events::invalidate(&run.env, fault.upstream()).await?;
        let injected = Moment::now();
        fault.inject(&run.env).await?;
        run.inject(fault.sentence());

        let length = run.watch_length(alerts, WATCH_DURATION)?;
        let watching = run.env.watch(length, REQUEST_PAUSE);
        let during = run.raised_during(alerts, injected.at, watching).await?;
        self.check_user_view(run, &during, &view, injected).await;
        for read in self.reads {
            read.check(run).await?;
        }
        let signal = run
            .env
            .wait_until("the failure counter", DETECT_WITHIN, async |env| {
                Ok(failures(env, fault).await? > before)
            })
            .await;
        let not_ok = during.iter().find(|dashboard| !dashboard.not_ok.is_empty());
        let noticed = not_ok.map(|first| first.at + first.took - injected.at);
        run.detect_within("bff_backoffice_upstream_request_total counts its failures", signal);
        run.detected_after(noticed);
        let spared = self::spared(&run.env, fault).await? - spared;
        let what = "the breaker opened and spared the upstream calls";
        run.automatic(what, spared > 0.0, format!("{spared:.0} calls spared"));

        fault.undo(&mut run.env).await?;
        let back = run.until_whole().await;
        run.recover_within("every widget is ok again", back);
        Ok(())
    }

    /// Reads what the upstream's widgets show before the fault, and signs the other hotel's manager in.
    async fn view_before(&self, run: &DrillRun, fault: Fault) -> anyhow::Result<ViewBefore> {
        let own = widgets::of_upstream(fault.upstream());
        let last_data = LastData::of(&run.env.dashboard().await, &own)?;
        let other = OtherManager::find(&run.env)?;
        other.desktop.access_token().await?;
        // An earlier fault of another upstream has made the other hotel read this one's data.
        let mut earlier = self.faults.iter().take_while(|earlier| **earlier != fault);
        let is_unread = earlier.all(|earlier| earlier.upstream() == fault.upstream());
        Ok(ViewBefore { own, last_data, other, is_unread })
    }

    async fn check_user_view(
        &self,
        run: &DrillRun,
        during: &[DashboardView],
        before: &ViewBefore,
        injected: Moment,
    ) {
        let ViewBefore { own, last_data, other, is_unread } = before;
        check_dashboards(run, during, own);
        match self.shown {
            Shown::LastData => last_data.check(run, during, injected),
            Shown::Hidden => check_hidden(run, during, own),
        }
        if *is_unread {
            check_without_data(run, other, own).await;
        }
    }
}

/// The upstream's widgets before the fault.
struct ViewBefore {
    own: BTreeSet<String>,
    last_data: LastData,
    other: OtherManager,
    /// Whether the other hotel has no data of the upstream.
    is_unread: bool,
}

/// Number of failed calls to the upstream so far.
pub(super) async fn failures(env: &DrillEnv, fault: Fault) -> anyhow::Result<f64> {
    let name = "bff_backoffice_upstream_request_total";
    let all = env.counter(name, &[("upstream", fault.upstream())]).await?;
    let good = env.counter(name, &[("upstream", fault.upstream()), ("outcome", "ok")]).await?;
    Ok(all - good)
}

fn check_dashboards(run: &DrillRun, during: &[DashboardView], expected: &BTreeSet<String>) {
    let count = during.len();
    let good = during.iter().filter(|dashboard| dashboard.status == Some(200)).count();
    run.user("every dashboard is 200", good == count && count > 0, format!("{good} of {count}"));
    let slowest = during.iter().map(|dashboard| dashboard.took).max().unwrap_or_default();
    run.user_in_time(slowest, ANSWER_WITHIN);
    let missed: BTreeSet<_> =
        during.iter().flat_map(DashboardView::upstream_widgets_not_ok).collect();
    check_others(run, during, expected);
    run.user("its widgets are not ok", missed.is_superset(expected), format!("{missed:?}"));
}

/// Number of calls to the upstream that the breaker refused so far.
async fn spared(env: &DrillEnv, fault: Fault) -> anyhow::Result<f64> {
    let labels = [("upstream", fault.upstream()), ("outcome", "BREAKER_OPEN")];
    env.counter("bff_backoffice_upstream_request_total", &labels).await
}
