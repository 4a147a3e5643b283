//! `GET /arrivals`: who arrives at a property on a day.

use axum::extract::State;
use axum::response::Response;
use contracts::upstream::Upstream;
use contracts::upstream::reservation::Stays;
use http::HeaderMap;
use serde::Deserialize;
use service_kit::etag;
use service_kit::extract::Query;
use service_kit::problem::ApiResult;
use std::sync::Arc;
use upstream_clients::Upstreams;

use super::reading::{date, same_property, within};
use crate::edge::{Calls, InProperty, SignedIn};
use crate::upstream_problem::of_read;

const UPSTREAM: Upstream = Upstream::Reservation;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct ArrivalsQuery {
    /// The property shown; it must be in the caller's scope.
    #[param(rename = "propertyId", value_type = String, required = true)]
    #[serde(rename = "propertyId")]
    _property: Option<String>,
    /// Today in the property's time zone when left out.
    #[param(value_type = Option<String>, format = Date)]
    date: Option<String>,
}

/// The arrivals of a day.
#[utoipa::path(
    get, path = "/arrivals", tag = "workbench", security(("dpop" = [])), params(ArrivalsQuery),
    responses((status = 200, body = Stays), (status = 304), (status = "default", response = crate::openapi::AnyProblem)),
)]
pub async fn list_arrivals(
    in_property: InProperty<SignedIn>,
    calls: Calls,
    Query(query): Query<ArrivalsQuery>,
    State(upstreams): State<Arc<Upstreams>>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let day = date("query.date", query.date.as_deref())?;
    let property = in_property.property;
    let stays = upstreams
        .arrivals(&within(&calls), property, day)
        .await
        .map_err(|error| of_read(UPSTREAM, error))?;
    same_property(UPSTREAM, stays.property_id, property)?;
    Ok(etag::answer(&headers, &(stays.date, &stays.items), &stays))
}
