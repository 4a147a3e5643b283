//! notification: the alerts nobody has acknowledged.

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

use super::{Scene, Stage};
use crate::demo;

const MOST: usize = 100;

/// Open alerts, newest first within a property.
#[derive(Debug)]
struct Inbox(RwLock<Vec<demo::Alert>>);

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    property_id: PropertyId,
    limit: Option<usize>,
}

pub(super) fn router(scene: Scene) -> Router {
    let inbox = Arc::new(Inbox(RwLock::new(scene.house.alerts.clone())));
    Router::new().route("/api/v1/alerts", get(alerts)).with_state(Stage { scene, own: inbox })
}

async fn alerts(
    State(stage): State<Stage<Inbox>>,
    caller: Caller,
    Query(asked): Query<Asked>,
) -> ApiResult<Json<Alerts>> {
    let property = stage.scene.property(&caller, asked.property_id)?;
    let items = stage.own.of(property.id, asked.limit.unwrap_or(MOST).min(MOST));
    Ok(Json(Alerts { property_id: property.id, as_of: stage.scene.clock.now(), items }))
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
