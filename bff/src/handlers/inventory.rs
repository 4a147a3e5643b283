//! `GET /inventory/availability`: what can still be sold, by room type and night.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use contracts::upstream::Upstream;
use contracts::upstream::inventory::Availability;
use http::HeaderMap;
use serde::Deserialize;
use service_kit::etag;
use service_kit::extract::Query;
use service_kit::problem::ApiResult;
use upstream_clients::Upstreams;

use super::reading::{date, same_property, within};
use crate::edge::{Calls, InProperty, SignedIn};
use crate::upstream_problem::of_read;

const UPSTREAM: Upstream = Upstream::Inventory;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct AvailabilityQuery {
    /// The property shown; it must be in the caller's scope.
    #[param(rename = "propertyId", value_type = String, required = true)]
    #[serde(rename = "propertyId")]
    _property: Option<String>,
    /// First night; today in the property's time zone when left out.
    #[param(value_type = Option<String>, format = Date)]
    from: Option<String>,
    /// The day after the last night, at most 60 nights on; 14 nights after `from` when left out.
    #[param(value_type = Option<String>, format = Date)]
    to: Option<String>,
}

/// Rooms by type and night, overbooking and stop-sell applied.
#[utoipa::path(
    get, path = "/inventory/availability", tag = "inventory", security(("dpop" = [])), params(AvailabilityQuery),
    responses((status = 200, body = Availability), (status = 304), (status = "default", response = crate::openapi::AnyProblem)),
)]
pub async fn get_availability(
    in_property: InProperty<SignedIn>,
    calls: Calls,
    Query(query): Query<AvailabilityQuery>,
    State(upstreams): State<Arc<Upstreams>>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let from = date("query.from", query.from.as_deref())?;
    let nights = (from, date("query.to", query.to.as_deref())?);
    let property = in_property.property;
    let body = upstreams
        .availability(&within(&calls), property, nights)
        .await
        .map_err(|error| of_read(UPSTREAM, error))?;
    same_property(UPSTREAM, body.property_id, property)?;
    Ok(etag::answer(&headers, &(&body.time_zone, body.from, body.to, &body.room_types), &body))
}
