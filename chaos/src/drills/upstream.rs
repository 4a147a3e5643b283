//! An upstream of the dashboard fails. Its widgets become unavailable or stale, the others stay ok,
//! responses are in time, and it recovers automatically.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::Mode;
use super::read_probe::ReadProbe;
use super::widgets;
use crate::drill_env::{DashboardView, DrillEnv, stand_in_fault};
use crate::events;
use crate::observations::{Observations, Step};

/// The route's deadline plus connection overhead on a busy machine.
const ANSWER_WITHIN: Duration = Duration::from_millis(700);
const DETECT_WITHIN: Duration = Duration::from_secs(15);
const WATCH_DURATION: Duration = Duration::from_secs(3);
const REQUEST_PAUSE: Duration = Duration::from_millis(40);

/// Fault of an upstream.
#[derive(Debug, Clone, Copy)]
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
    /// Other reads that the upstream serves.
    pub(super) reads: &'static [ReadProbe],
}

impl UpstreamDrill {
    pub(super) async fn run(
        &self,
        mode: Mode,
        objective: Duration,
        env: &mut DrillEnv,
        seen: &mut Observations,
    ) -> anyhow::Result<()> {
        for (number, fault) in self.faults.iter().enumerate() {
            let alert = (number == 0 && mode == Mode::Full).then_some(self.alert);
            self.drill_fault(*fault, alert, objective, env, seen).await?;
        }
        Ok(())
    }

    async fn drill_fault(
        &self,
        fault: Fault,
        alert: Option<&'static str>,
        objective: Duration,
        env: &mut DrillEnv,
        seen: &mut Observations,
    ) -> anyhow::Result<()> {
        let steady = env
            .wait_until("a whole dashboard", objective, async |env| {
                Ok(env.dashboard().await.is_whole())
            })
            .await;
        seen.check_timed(Step::Steady, "every widget is ok", steady);
        for read in self.reads {
            read.open(env).await?;
        }
        let before = failures(env, fault).await?;
        events::invalidate(env, fault.upstream()).await?;
        let injected_at = Instant::now();
        fault.inject(env).await?;
        seen.check(Step::Fault, fault.sentence(), true, "done");

        let during = match alert {
            Some(alert) => watch_with_alert(alert, injected_at, env, seen).await?,
            None => env.watch(WATCH_DURATION, REQUEST_PAUSE).await,
        };
        let expected = widgets::of_upstream(fault.upstream());
        check_user_view(&during, &expected, fault, seen);
        for read in self.reads {
            read.check(env, seen).await?;
        }
        let signal = env
            .wait_until("the failure counter", DETECT_WITHIN, async |env| {
                Ok(failures(env, fault).await? > before)
            })
            .await;
        let not_ok = during.iter().find(|dashboard| !dashboard.not_ok.is_empty());
        let noticed = not_ok.map(|first| first.at + first.took - injected_at);
        seen.check_timed(
            Step::Detection,
            "bff_backoffice_upstream_request_total counts its failures",
            signal,
        );
        seen.detected_after(noticed);
        check_automatic(env, fault, seen).await?;

        fault.undo(env).await?;
        let back = env
            .wait_until("a whole dashboard", objective, async |env| {
                Ok(env.dashboard().await.is_whole())
            })
            .await;
        let took = seen.check_timed(
            Step::Recovery,
            format!("every widget is ok again within {} s", objective.as_secs()),
            back,
        );
        seen.recovered_after(took);
        Ok(())
    }
}

/// Requests dashboards long enough for the alert, and checks that it fires.
async fn watch_with_alert(
    alert: &'static str,
    injected_at: Instant,
    env: &DrillEnv,
    seen: &mut Observations,
) -> anyhow::Result<Vec<DashboardView>> {
    let alerts = env.alerts()?;
    let watching = env.watch(alerts.fire_within(&[alert])?, REQUEST_PAUSE);
    let (during, raised) = alerts.raised_during(&[alert], injected_at, watching).await?;
    raised.report(seen);
    Ok(during)
}

/// Number of failed calls to the upstream so far.
pub(super) async fn failures(env: &DrillEnv, fault: Fault) -> anyhow::Result<f64> {
    let name = "bff_backoffice_upstream_request_total";
    let all = env.metric(name, &[("upstream", fault.upstream())]).await?;
    let good = env.metric(name, &[("upstream", fault.upstream()), ("outcome", "ok")]).await?;
    Ok(all - good)
}

fn check_user_view(
    during: &[DashboardView],
    expected: &BTreeSet<String>,
    fault: Fault,
    seen: &mut Observations,
) {
    let what = fault.sentence();
    let count = during.len();
    let good = during.iter().filter(|dashboard| dashboard.status == Some(200)).count();
    seen.check(
        Step::User,
        format!("{what}: every dashboard is 200"),
        good == count && count > 0,
        format!("{good} of {count}"),
    );
    let slowest = during.iter().map(|dashboard| dashboard.took).max().unwrap_or_default();
    seen.check(
        Step::User,
        format!("{what}: every response within {} ms", ANSWER_WITHIN.as_millis()),
        slowest <= ANSWER_WITHIN,
        format!("slowest {} ms", slowest.as_millis()),
    );
    let missed: BTreeSet<_> =
        during.iter().flat_map(DashboardView::upstream_widgets_not_ok).collect();
    let others: BTreeSet<_> = missed.difference(expected).collect();
    seen.check(
        Step::User,
        format!("{what}: every other widget is ok"),
        others.is_empty(),
        format!("{others:?}"),
    );
    seen.check(
        Step::User,
        format!("{what}: its widgets are not ok"),
        missed.is_superset(expected),
        format!("{missed:?}"),
    );
}

/// Checks that the breaker opened.
async fn check_automatic(
    env: &DrillEnv,
    fault: Fault,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let labels = [("upstream", fault.upstream()), ("outcome", "BREAKER_OPEN")];
    let refused = env.metric("bff_backoffice_upstream_request_total", &labels).await?;
    seen.check(
        Step::Automatic,
        "the breaker opened and spared the upstream calls",
        refused > 0.0,
        format!("{refused:.0} calls spared"),
    );
    Ok(())
}
