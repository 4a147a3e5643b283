//! Diagnostics of this instance: `GET /internal/background` shows the background tasks and jobs, each
//! with its last result, and `GET /internal/composition` statistics of each widget and upstream since
//! the start. Internal listener only.

use axum::extract::State;
use composer::Composer;
use composer::diagnostics::WidgetReport;
use serde::Serialize;
use service_kit::background::{TaskDriver, TaskReport};
use service_kit::extract::Json;
use upstream_clients::UpstreamReport;

#[derive(Debug, Serialize)]
pub(crate) struct Background {
    tasks: Vec<TaskReport>,
}

pub(crate) async fn get_background(State(driver): State<TaskDriver>) -> Json<Background> {
    Json(Background { tasks: driver.reports() })
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Composition {
    /// Dashboards being composed, and the limit.
    composing: usize,
    composing_at_most: usize,
    widgets: Vec<WidgetReport>,
    upstreams: Vec<UpstreamReport>,
}

pub(crate) async fn get_composition(State(composer): State<Composer>) -> Json<Composition> {
    let (composing, composing_at_most) = composer.load();
    let (widgets, upstreams) = (composer.report(), composer.upstreams().report());
    Json(Composition { composing, composing_at_most, widgets, upstreams })
}
