//! `GET /internal/composition`: how each widget and each upstream fares, for people. Of this
//! instance, since it started. On the internal listener alone.

use axum::extract::State;
use composer::Composer;
use composer::diagnostics::WidgetReport;
use serde::Serialize;
use service_kit::extract::Json;
use upstream_clients::UpstreamReport;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Composition {
    /// Dashboards composed now, and how many may be.
    composing: usize,
    composing_at_most: usize,
    widgets: Vec<WidgetReport>,
    upstreams: Vec<UpstreamReport>,
}

pub async fn get_composition(State(composer): State<Composer>) -> Json<Composition> {
    let (composing, composing_at_most) = composer.load();
    let (widgets, upstreams) = (composer.report(), composer.upstreams().report());
    Json(Composition { composing, composing_at_most, widgets, upstreams })
}
