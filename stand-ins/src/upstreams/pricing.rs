//! pricing: tonight's best available rates.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use contracts::upstream::pricing::{Rate, RateSnapshot};
use jiff::civil::Date;
use service_kit::caller::Caller;
use service_kit::extract::{Json, Query};
use service_kit::problem::ApiResult;

use super::{PropertyQuery, UpstreamContext, UpstreamState};
use crate::demo::{Property, RoomType, rates};

pub(super) fn router(context: UpstreamContext) -> Router {
    Router::new()
        .route("/v1/pricing/rate-snapshot", get(rate_snapshot))
        .with_state(UpstreamState { context, own: Arc::new(()) })
}

async fn rate_snapshot(
    State(state): State<UpstreamState<()>>,
    caller: Caller,
    Query(query): Query<PropertyQuery>,
) -> ApiResult<Json<RateSnapshot>> {
    let property = state.context.property(&caller, query.property_id)?;
    let now = state.context.env.now();
    let tonight = property.today(now);
    let types = state.context.demo.room_types_of(property.id);
    let rates = types.map(|room_type| rate(property, room_type, tonight)).collect();
    Ok(Json(RateSnapshot { property_id: property.id, as_of: now, date: tonight, rates }))
}

fn rate(property: &Property, room_type: &RoomType, tonight: Date) -> Rate {
    let best_available = rates::of_night(property, room_type, tonight);
    let before = rates::of_night(property, room_type, tonight.yesterday().unwrap_or(tonight));
    let change = (best_available.amount_micro - before.amount_micro) as f64;
    let change_percent = (100.0 * change / before.amount_micro as f64).round() as i32;
    Rate {
        room_type_id: room_type.id,
        name: room_type.name.to_owned(),
        best_available,
        change_percent,
    }
}
