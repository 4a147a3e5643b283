//! `GET /api/v1/inventory/properties/{id}/availability`: rooms by type and
//! night.

use axum::extract::State;
use axum::response::Response;
use contracts::clock::Clock;
use contracts::id::{PropertyId, TenantId};
use contracts::upstream::inventory::Availability;
use http::HeaderMap;
use jiff::Timestamp;
use service_kit::caller::Caller;
use service_kit::etag;
use service_kit::extract::{Path, Query};
use service_kit::postgres::{self, Database, StoreError};
use service_kit::problem::{ApiError, ApiResult};
use service_kit::service::ReadProblems;

use crate::availability_query::{Nights, Params, Window};

#[cfg(test)]
mod tests;

/// Rooms by type and night, overbooking and stop-sell applied.
#[utoipa::path(
    get,
    path = "/api/v1/inventory/properties/{id}/availability",
    operation_id = "getAvailability",
    params(("id" = PropertyId, Path, description = "The property."), Params),
    responses(
        (status = 200, description = "One entry per type, one night per day.", body = Availability,
            headers(("ETag" = String, description = "Changes with the numbers."))),
        ReadProblems,
    ),
    security(("requestToken" = [])),
)]
pub(crate) async fn handler(
    State(database): State<Database>,
    State(clock): State<Clock>,
    caller: Caller,
    Path(property): Path<PropertyId>,
    Query(params): Query<Params>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let window = Window::parse(&params)?;
    let now = clock.now();
    let found = read(&database, caller.0.tenant, property, window, now).await?;
    let nights = found.ok_or_else(ApiError::not_found)?;
    // After the read, so that properties of other tenants look unknown.
    caller.require(property)?;
    nights.check()?;
    let body = body(property, now, nights);
    Ok(etag::respond(&headers, &(&body.time_zone, body.from, body.to, &body.room_types), &body))
}

/// `None` when the tenant has no such property.
async fn read(
    database: &Database,
    tenant: TenantId,
    property: PropertyId,
    window: Window,
    now: Timestamp,
) -> Result<Option<Nights>, StoreError> {
    let mut connection = database.connection().await?;
    let transaction = postgres::read(&mut connection, tenant).await?;
    Nights::read(&transaction, property, window, now).await
}

fn body(property_id: PropertyId, as_of: Timestamp, nights: Nights) -> Availability {
    Availability {
        property_id,
        time_zone: nights.time_zone,
        as_of,
        from: nights.first,
        to: nights.past,
        room_types: nights.room_types,
    }
}
