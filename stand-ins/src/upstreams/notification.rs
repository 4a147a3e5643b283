//! notification: alerts that nobody has acknowledged.

use std::sync::{Arc, PoisonError, RwLock};

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use contracts::id::PropertyId;
use contracts::upstream::notification::{Alert, Alerts};
use serde::Deserialize;
use service_kit::caller::Caller;
use service_kit::extract::{Json, Query};
use service_kit::problem::ApiResult;

use super::{UpstreamContext, UpstreamState};
use crate::demo;

const MAX_ALERTS: usize = 100;

/// Open alerts, newest first within a property.
#[derive(Debug)]
struct Inbox(RwLock<Vec<demo::Alert>>);

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AlertsQuery {
    property_id: PropertyId,
    limit: Option<usize>,
}

pub(super) fn router(context: UpstreamContext) -> Router {
    let inbox = Arc::new(Inbox(RwLock::new(context.demo.alerts.clone())));
    Router::new()
        .route("/api/v1/alerts", get(alerts))
        .with_state(UpstreamState { context, own: inbox })
}

async fn alerts(
    State(state): State<UpstreamState<Inbox>>,
    caller: Caller,
    Query(query): Query<AlertsQuery>,
) -> ApiResult<Json<Alerts>> {
    let property = state.context.property(&caller, query.property_id)?;
    let items = state.own.of(property.id, query.limit.unwrap_or(MAX_ALERTS).min(MAX_ALERTS));
    Ok(Json(Alerts { property_id: property.id, as_of: state.context.env.now(), items }))
}

impl Inbox {
    fn of(&self, property: PropertyId, limit: usize) -> Vec<Alert> {
        let open = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let own = open.iter().filter(|alert| alert.property_id == property);
        own.take(limit).map(on_the_wire).collect()
    }
}

fn on_the_wire(alert: &demo::Alert) -> Alert {
    Alert {
        alert_id: alert.id,
        severity: alert.severity,
        title: alert.title.clone(),
        body: alert.body.clone(),
        raised_at: alert.raised_at,
    }
}
