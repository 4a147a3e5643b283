//! `GET /internal/composition`: statistics of each widget and upstream of this instance, since it
//! started. Internal listener only.

use axum::extract::State;
use composer::Composer;
use composer::diagnostics::WidgetReport;
use serde::Serialize;
use service_kit::extract::Json;
use upstream_clients::UpstreamReport;

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
