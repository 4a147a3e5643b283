//! Upstreams hang while their responses are cached. The cached data is shown with its age, and no
//! dashboard waits for the deadline.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Times, widgets};
use crate::drill_env::{DashboardView, DrillEnv, stand_in_fault};
use crate::drill_run::DrillRun;

/// Upstreams whose responses are fresh for ten seconds at most.
const HANGING_UPSTREAMS: [&str; 3] = ["reservation", "housekeeping", "notification"];
/// Time until all their cached responses are stale.
const STALE_WITHIN: Duration = Duration::from_secs(13);
const WATCH_DURATION: Duration = Duration::from_secs(3);
const REQUEST_PAUSE: Duration = Duration::from_millis(50);
/// The 100 ms that a refresh of stale data is awaited, plus the rest of a dashboard.
const P99_WITHIN: Duration = Duration::from_millis(250);

pub(super) async fn run(run: &mut DrillRun) -> anyhow::Result<()> {
    run.env.keep(true).await?;
    let steady = run.until_whole().await;
    run.steady_within("the cache is on, and every widget is ok", steady);
    for upstream in HANGING_UPSTREAMS {
        run.env.add_fault(&stand_in_fault(upstream, "hang")).await?;
    }
    run.inject(format!("{HANGING_UPSTREAMS:?} hang"));
    let wanted = wanted();
    let old = async |env: &DrillEnv| Ok(env.dashboard().await.upstream_widgets_not_ok() == wanted);
    let old = run.env.wait_until("stale widgets", STALE_WITHIN, old).await;
    run.detect_within("their widgets are not ok", old);
    let during = watch(&run.env).await;
    check_stale_views(run, &during, &wanted);
    run.env.clear_faults().await?;
    let back = run.until_whole().await;
    run.recover_within("and every widget is ok again", back);
    Ok(())
}

fn wanted() -> BTreeSet<String> {
    HANGING_UPSTREAMS.into_iter().flat_map(widgets::of_upstream).collect()
}

async fn watch(env: &DrillEnv) -> Vec<DashboardView> {
    let (end, mut during) = (Instant::now() + WATCH_DURATION, Vec::new());
    while Instant::now() < end {
        during.push(env.dashboard().await);
        sleep(REQUEST_PAUSE).await;
    }
    during
}

fn check_stale_views(run: &DrillRun, during: &[DashboardView], wanted: &BTreeSet<String>) {
    let good = during.iter().filter(|view| is_stale(view, wanted)).count();
    run.user(
        "the last responses are shown as stale, with age and reason",
        good == during.len() && good > 0,
        format!("{good} of {} dashboards", during.len()),
    );
    let times = Times::of(during.iter());
    run.user("the p99 of cached dashboards is in time", times.p99 <= P99_WITHIN, &times);
}

/// Whether it is 200 and exactly these widgets are stale, with data, age and reason.
fn is_stale(dashboard: &DashboardView, wanted: &BTreeSet<String>) -> bool {
    let shows = |name: &String| {
        let widget = &dashboard.body["widgets"][name];
        let aged = widget["ageMs"].as_u64().is_some_and(|age| age > 0);
        widget["status"] == "stale"
            && aged
            && widget["reason"].is_string()
            && !widget["data"].is_null()
    };
    dashboard.status == Some(200)
        && dashboard.upstream_widgets_not_ok() == *wanted
        && wanted.iter().all(shows)
}
