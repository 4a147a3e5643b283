//! Nothing fails: after a change at every upstream each is called, and the operator sees everything.

use std::collections::BTreeMap;
use std::time::Duration;

use composer::{WIDGETS, WidgetSpec};
use launcher::desktop::Call;
use tokio::time::Instant;

use super::widgets;
use crate::drill_env::{DashboardView, DrillEnv};
use crate::drill_run::{Drill, DrillFuture, DrillRun, EnvAfter};
use crate::{events, timed_call};

const CALLS_METRIC: &str = "bff_backoffice_upstream_request_total";
/// A read may be late on a busy machine.
const COMPLETE_WITHIN: Duration = Duration::from_secs(3);
/// Reads of the workbench, and of the boards and lists beside it.
const ROUTES: [&str; 10] = [
    "/today",
    "/arrivals",
    "/departures",
    "/in-house",
    "/inventory/calendar",
    "/housekeeping/board",
    "/maintenance/board",
    "/staff/on-duty",
    "/ai/suggestions",
    "/alerts",
];

pub(super) struct AllUpstreams;

impl Drill for AllUpstreams {
    fn leaves(&self) -> EnvAfter {
        EnvAfter::Unchanged
    }

    fn run<'a>(&'a self, run: &'a mut DrillRun) -> DrillFuture<'a> {
        Box::pin(run_drill(run))
    }
}

async fn run_drill(run: &DrillRun) -> anyhow::Result<()> {
    let steady = run.until_whole().await;
    run.steady_within("every widget is ok", steady);
    let before = answered(&run.env).await?;
    for upstream in before.keys() {
        events::invalidate(&run.env, upstream).await?;
    }
    let begun = Instant::now();
    run.inject("the data of every upstream has changed, so that each is called");
    let is_complete = async |env: &DrillEnv| Ok(is_complete(&env.dashboard().await));
    let complete = run.env.wait_until("such a dashboard", COMPLETE_WITHIN, is_complete).await;
    let what = "a dashboard is 200, not partial, with every widget from its own source";
    run.user_within(what, complete);
    check_routes(run).await?;
    let all_answered = async |env: &DrillEnv| {
        let now = answered(env).await?;
        Ok(before.iter().all(|(upstream, count)| now[upstream] > *count))
    };
    let counted = run.env.wait_until("the counters", COMPLETE_WITHIN, all_answered).await;
    run.detect_within(format!("{CALLS_METRIC} counts a good response of each upstream"), counted);
    run.detected_after(Some(begun.elapsed()));
    let back = run.until_whole().await;
    run.recover_within("every widget is ok as before", back);
    Ok(())
}

async fn check_routes(run: &DrillRun) -> anyhow::Result<()> {
    let mut odd = Vec::new();
    for route in ROUTES {
        let call = Call::get(format!("{route}?propertyId={}", run.env.property));
        let answer = timed_call::send(&run.env.desktop, &call).await?;
        if answer.status != 200 || answer.body["degraded"] == true {
            odd.push(format!("{route}: {}", answer.summary()));
        }
    }
    let what = "every view, board and list is 200 and not degraded";
    run.user(
        what,
        odd.is_empty(),
        format!("{} of {} {odd:?}", ROUTES.len() - odd.len(), ROUTES.len()),
    );
    Ok(())
}

/// Whether every widget of the composer's table is there and ok, with data of its own source.
fn is_complete(dashboard: &DashboardView) -> bool {
    let is_good = |spec: &&WidgetSpec| {
        let widget = &dashboard.body["widgets"][spec.name];
        widget["status"] == "ok" && widget["source"] == spec.source() && !widget["data"].is_null()
    };
    dashboard.status == Some(200)
        && dashboard.body["partial"] == false
        && WIDGETS.iter().all(is_good)
}

/// Number of good responses so far, by upstream.
async fn answered(env: &DrillEnv) -> anyhow::Result<BTreeMap<&'static str, f64>> {
    let mut answered = BTreeMap::new();
    for upstream in widgets::by_upstream().into_keys() {
        let labels = [("upstream", upstream), ("outcome", "ok")];
        answered.insert(upstream, env.counter(CALLS_METRIC, &labels).await?);
    }
    Ok(answered)
}
