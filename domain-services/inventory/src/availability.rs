//! `GET /api/v1/inventory/properties/{id}/availability`: rooms by type and
//! night.

use axum::extract::State;
use axum::response::Response;
use contracts::clock::Clock;
use contracts::id::PropertyId;
use contracts::upstream::inventory::Availability;
use http::HeaderMap;
use service_kit::caller::Caller;
use service_kit::etag;
use service_kit::extract::{Path, Query};
use service_kit::postgres::{self, Database};
use service_kit::problem::ApiResult;

use crate::availability_query::{Nights, Params, Window};

#[cfg(test)]
mod tests;

/// Rooms by type and night, overbooking and stop-sell applied.
#[utoipa::path(
    get,
    path = "/api/v1/inventory/properties/{id}/availability",
    operation_id = "getAvailability",
    params(("id" = PropertyId, Path, description = "The property."), Params),
    responses((status = 200, description = "One entry per type, one night per day.",
        body = Availability,
        headers(("ETag" = String, description = "Changes with the numbers.")))),
)]
pub(crate) async fn handler(
    State(database): State<Database>,
    State(clock): State<Clock>,
    caller: Caller,
    Path(property): Path<PropertyId>,
    Query(params): Query<Params>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let (window, now) = (Window::parse(&params)?, clock.now());
    let mut connection = database.connection().await?;
    let transaction = postgres::read(&mut connection, caller.0.tenant).await?;
    let nights = Nights::read(&transaction, &caller, property, window, now).await?;
    let body = Availability {
        property_id: property,
        time_zone: nights.time_zone,
        as_of: now.into(),
        from: nights.first.into(),
        to: nights.past.into(),
        room_types: nights.room_types,
    };
    Ok(etag::respond(&headers, &(&body.time_zone, body.from, body.to, &body.room_types), &body))
}
