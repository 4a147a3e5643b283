//! sync: how far the desktops of a property have come.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use contracts::id::DeviceId;
use contracts::upstream::sync::{DeviceCursor, SyncCursors};
use jiff::Timestamp;
use service_kit::caller::Caller;
use service_kit::extract::{Json, Query};
use service_kit::problem::ApiResult;

use super::{OfProperty, Scene, Stage};
use crate::demo::desktops;

pub(super) fn router(scene: Scene) -> Router {
    Router::new()
        .route("/api/v1/sync/cursors", get(cursors))
        .with_state(Stage { scene, own: Arc::new(()) })
}

async fn cursors(
    State(stage): State<Stage<()>>,
    caller: Caller,
    Query(of): Query<OfProperty>,
) -> ApiResult<Json<SyncCursors>> {
    let property = stage.scene.property(&caller, of.property_id)?;
    let now = stage.scene.clock.now();
    let operators = stage.scene.house.operators.iter();
    let own = operators.filter(|operator| operator.property_ids.contains(&property.id));
    let mut items: Vec<_> = own.map(|operator| cursor(operator.device_id, now)).collect();
    items.sort_by_key(|cursor| cursor.device_id);
    Ok(Json(SyncCursors { property_id: property.id, as_of: now, items }))
}

fn cursor(device_id: DeviceId, now: Timestamp) -> DeviceCursor {
    let progress = desktops::progress(device_id, now);
    DeviceCursor {
        device_id,
        version: progress.pulls,
        last_pull_at: progress.last_pull,
        last_push_at: progress.last_push,
    }
}
