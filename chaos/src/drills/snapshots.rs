//! An upstream with cached responses fails. They are shown with their age, every other widget is ok,
//! and only reads that are not cached fail.

use std::collections::BTreeSet;
use std::time::Duration;

use launcher::desktop::Call;
use reqwest::header::AGE;
use tokio::time::{Instant, sleep};

use super::upstream::{Fault, failures};
use super::widget_states::{LastData, Moment, check_others};
use super::widgets;
use crate::drill_env::{DashboardView, DrillEnv};
use crate::drill_run::{Drill, DrillFuture, DrillRun, EnvAfter, Load};
use crate::{client, timed_call};

const CALLS_METRIC: &str = "bff_backoffice_upstream_request_total";
const STALE: &str = "bff_backoffice_cache_stale_total";
const UNAVAILABLE: &str = "MELMASTOON.BFF.UPSTREAM_UNAVAILABLE";
/// Alert with the upstream as a label.
const ALERT: &str = "BffUpstreamDown";
/// The route's deadline plus connection overhead on a busy machine.
const ANSWER_WITHIN: Duration = Duration::from_millis(700);
/// The widgets are fresh for 10 s.
const STALE_WITHIN: Duration = Duration::from_secs(15);
/// The route is fresh for up to 15 s.
const ROUTE_STALE_WITHIN: Duration = Duration::from_secs(16);
const WATCH_DURATION: Duration = Duration::from_secs(3);
const REQUEST_PAUSE: Duration = Duration::from_millis(40);

/// Another read that the upstream serves.
#[derive(Debug)]
pub(super) struct Route {
    /// Path of a read that is cached.
    pub(super) path: &'static str,
    /// Query that makes it an uncached read.
    pub(super) uncached_query: Option<&'static str>,
}

impl Route {
    fn call(&self, env: &DrillEnv) -> Call {
        Call::get(format!("{}?propertyId={}", self.path, env.property))
    }
}

#[derive(Debug)]
pub(super) struct SnapshotDrill {
    pub(super) fault: Fault,
    pub(super) route: Option<Route>,
}

impl Drill for SnapshotDrill {
    fn leaves(&self) -> EnvAfter {
        EnvAfter::Unchanged
    }

    fn load(&self) -> Load {
        Load::Timed
    }

    fn run<'a>(&'a self, run: &'a mut DrillRun) -> DrillFuture<'a> {
        Box::pin(self.run_drill(run))
    }
}

impl SnapshotDrill {
    async fn run_drill(&self, run: &mut DrillRun) -> anyhow::Result<()> {
        let steady = run
            .env
            .wait_until("a whole dashboard", run.objective, async |env: &DrillEnv| {
                self.is_well(env).await
            })
            .await;
        run.steady_within("every widget is ok, and the route responds", steady);
        let (failed, stale) =
            (failures(&run.env, self.fault).await?, run.env.counter(STALE, &[]).await?);
        let last_data = LastData::of(&run.env.dashboard().await, &self.widgets())?;
        let injected = Moment::now();
        let injected_at = injected.at;
        self.fault.inject(&run.env).await?;
        run.inject(self.fault.sentence());

        let mut during = self.wait_until_stale(run, injected_at).await;
        let length = run.watch_length(&[ALERT], WATCH_DURATION)?;
        let watching = run.env.watch(length, REQUEST_PAUSE);
        during.extend(run.raised_during(&[ALERT], injected_at, watching).await?);
        let fresh = if self.route.is_some() { ROUTE_STALE_WITHIN } else { Duration::ZERO };
        during.extend(
            run.env.watch(fresh.saturating_sub(injected_at.elapsed()), REQUEST_PAUSE).await,
        );
        self.check_dashboards(run, &during);
        last_data.check(run, &during, injected);
        self.check_route(run).await?;
        let (failed, stale) = (
            failures(&run.env, self.fault).await? - failed,
            run.env.counter(STALE, &[]).await? - stale,
        );
        let what = format!("{CALLS_METRIC} counts its failures, {STALE} the stale data shown");
        let found = format!("{failed:.0} failed, {stale:.0} stale");
        run.detect(what, failed > 0.0 && stale > 0.0, found);

        match self.fault {
            Fault::StandIn { .. } => run.act_by_runbook("bff-backoffice/upstream-down").await?,
            _ => self.fault.undo(&mut run.env).await?,
        }
        let back = run
            .env
            .wait_until("a whole dashboard", run.objective, async |env: &DrillEnv| {
                self.is_well(env).await
            })
            .await;
        let what = "every widget and the route are fresh";
        run.recover_within(what, back);
        Ok(())
    }

    /// Requests dashboards until the widgets are stale.
    async fn wait_until_stale(&self, run: &DrillRun, injected_at: Instant) -> Vec<DashboardView> {
        let mut before = Vec::new();
        while injected_at.elapsed() < STALE_WITHIN {
            let dashboard = run.env.dashboard().await;
            let is_missed = self.is_missed(&dashboard);
            before.push(dashboard);
            if is_missed {
                break;
            }
            sleep(REQUEST_PAUSE).await;
        }
        let is_missed = before.last().is_some_and(|last| self.is_missed(last));
        let what = "the cached responses are stale and cannot be refreshed";
        run.detect(what, is_missed, format!("after {:?}", injected_at.elapsed()));
        run.detected_after(is_missed.then(|| injected_at.elapsed()));
        before
    }

    fn widgets(&self) -> BTreeSet<String> {
        widgets::of_upstream(self.fault.upstream())
    }

    fn is_missed(&self, dashboard: &DashboardView) -> bool {
        dashboard.not_ok.is_superset(&self.widgets())
    }

    fn check_dashboards(&self, run: &DrillRun, during: &[DashboardView]) {
        let all = during.len();
        let good = during.iter().filter(|view| view.status == Some(200)).count();
        let expected = "every dashboard is 200";
        run.user(expected, good == all && good > 0, format!("{good} of {all}"));
        let slowest = during.iter().map(|view| view.took).max().unwrap_or_default();
        run.user_in_time(slowest, ANSWER_WITHIN);

        check_others(run, during, &self.widgets());
    }

    /// Checks that a cached read is served stale and an uncached one fails.
    async fn check_route(&self, run: &DrillRun) -> anyhow::Result<()> {
        let Some(route) = &self.route else { return Ok(()) };
        let answer = run.env.desktop.send(&route.call(&run.env)).await?;
        let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
        let found = format!("{} {:?}", answer.status(), (header("x-cache"), header(AGE.as_str())));
        let held = answer.status() == 200
            && header("x-cache") == Some("STALE")
            && header(AGE.as_str()).is_some_and(|age| age != "0");
        let what = format!("{} is 200 and STALE with its Age", route.path);
        run.user(what, held, found);
        let Some(uncached_query) = route.uncached_query else { return Ok(()) };
        let mut call = route.call(&run.env);
        call.path.push_str(uncached_query);
        let answer = timed_call::send(&run.env.desktop, &call).await?;
        let held = answer.is(502, UNAVAILABLE) && answer.body["retriable"] == true;
        let what = format!("{} without cached data is a retriable 502", route.path);
        run.user(what, held && answer.took <= ANSWER_WITHIN, answer.summary());
        Ok(())
    }

    async fn is_well(&self, env: &DrillEnv) -> anyhow::Result<bool> {
        if !env.dashboard().await.is_whole() {
            return Ok(false);
        }
        let Some(route) = &self.route else { return Ok(true) };
        let answer = env.desktop.send(&route.call(env)).await?;
        let is_stale = answer.headers().get("x-cache").is_none_or(|value| value == "STALE");
        Ok(client::ApiResponse::of(answer).await.status == 200 && !is_stale)
    }
}
