//! An upstream hangs for one tenant only, whose desktop keeps requesting. Another tenant's dashboards
//! stay whole and as fast as before.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use serde_json::json;
use tokio::time::sleep;

use super::super::other_manager::OtherManager;
use super::Times;
use crate::drill_env::{DashboardView, DrillEnv};
use crate::drill_run::{DrillRun, Mode};

/// Dashboards per round, and rounds. A p99 of only a few hundred would be one busy moment.
const SHORT_RUN: (usize, usize) = (40, 2);
const FULL_RUN: (usize, usize) = (100, 12);
/// Request interval of the affected tenant, so that its load is constant.
const REQUEST_PACE: Duration = Duration::from_millis(500);

/// The other tenant's dashboards, one after the other.
async fn dashboards(other: &OtherManager, count: usize, env: &DrillEnv) -> Vec<DashboardView> {
    let mut seen = Vec::new();
    for _ in 0..count {
        seen.push(other.dashboard(env).await);
    }
    seen
}

/// Alternates rounds without and with the fault, so that other load on the machine affects both.
pub(super) async fn run(run: &DrillRun) -> anyhow::Result<()> {
    let other = OtherManager::find(&run.env)?;
    // Warm-up: signs in and connects.
    let (count, turns) = if run.mode == Mode::Full { FULL_RUN } else { SHORT_RUN };
    dashboards(&other, count, &run.env).await;
    run.inject("pricing hangs for one tenant");
    let (mut quiet, mut faulty) = (Vec::new(), Vec::new());
    for _ in 0..turns {
        quiet.extend(dashboards_under_load(count, &run.env, &other).await);
        let tenant = &run.env.desktop.operator().tenant_id;
        run.env
            .add_fault(&json!({"upstream": "pricing", "kind": "hang", "tenantId": tenant}))
            .await?;
        faulty.extend(dashboards_under_load(count, &run.env, &other).await);
        run.env.clear_faults().await?;
    }
    let has_all = |view: &&DashboardView| {
        view.status == Some(200) && view.upstream_widgets_not_ok().is_empty()
    };
    let whole = faulty.iter().filter(has_all).count();
    let what = "another tenant's dashboards have all widgets from upstreams";
    run.user(what, whole == faulty.len(), format!("{whole} of {}", faulty.len()));
    // Eighty dashboards on a busy machine are too few for a p99.
    if run.mode == Mode::Full {
        let (before, during) = (Times::of(quiet.iter()), Times::of(faulty.iter()));
        let what = "another tenant's p99 increases by at most a tenth";
        let held = during.p99 <= before.p99 * 11 / 10;
        run.user(what, held, format!("{during}; without the fault {before}"));
    }
    Ok(())
}

/// The other tenant's dashboards while the first tenant keeps requesting.
async fn dashboards_under_load(
    count: usize,
    env: &DrillEnv,
    other: &OtherManager,
) -> Vec<DashboardView> {
    let (watching, requesting) = (pin!(dashboards(other, count, env)), pin!(request_forever(env)));
    match select(watching, requesting).await {
        Either::Left((seen, _)) => seen,
        Either::Right((never, _)) => match never {},
    }
}

async fn request_forever(env: &DrillEnv) -> Infallible {
    loop {
        tokio::join!(env.dashboard(), sleep(REQUEST_PACE));
    }
}
