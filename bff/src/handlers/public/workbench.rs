//! `GET /today`, `/arrivals`, `/departures` and `/in-house`: the workbench's lists of stays.
//!
//! The stays are required; other columns may be missing, which the body reports.

use axum::response::Response;
use composer::snapshots::ReadError;
use composer::workbench::{ComposedView, List};
use contracts::upstream::Upstream;
use contracts::workbench::{StaysView, TodayView, WorkbenchRow};
use serde::Deserialize;
use service_kit::extract::{Query, date};
use service_kit::problem::{ApiError, ApiResult};

use crate::edge::{InProperty, SignedIn};
use crate::problems::upstream::read_problem;
use crate::reads::cached_read::Reads;
use crate::reads::pagination::Pagination;
use crate::reads::params::PropertyQuery;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(crate) struct DayQuery {
    /// Today in the property's time zone when left out.
    #[param(value_type = Option<String>, format = Date)]
    date: Option<String>,
}

/// Further parameters of a list, for the OpenAPI document; [`Pages`] parses them.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct StaysPageQuery {
    /// `nextCursor` of the page before.
    #[param(rename = "cursor", value_type = Option<String>)]
    _cursor: Option<String>,
    /// Stays of a page, 1 to 1000; 1000 when left out.
    #[param(rename = "limit", value_type = Option<u16>, minimum = 1, maximum = 1000)]
    _limit: Option<u16>,
}

/// A day's list of a hotel usually fits one page.
type Pages = Pagination<1000, 1000>;

/// Arrivals, departures and guests in house.
#[utoipa::path(
    get, path = "/today", operation_id = "show_today", tag = "workbench", security(("dpop" = [])), params(PropertyQuery, DayQuery),
    responses((status = 200, body = TodayView), (status = 304), (status = "default", response = crate::problems::AnyProblem)),
)]
pub(crate) async fn get_today(
    in_property: InProperty<SignedIn>,
    reads: Reads,
    Query(query): Query<DayQuery>,
) -> ApiResult<Response> {
    let day = reads.day(in_property.property, date("query.date", query.date.as_deref())?);
    let viewed =
        reads.composer().today_view(&day, &reads.context()).await.map_err(without_stays)?;
    Ok(reads.respond_composed(&viewed.origins, &viewed.view))
}

/// The arrivals of a day.
#[utoipa::path(
    get, path = "/arrivals", tag = "workbench", security(("dpop" = [])), params(PropertyQuery, DayQuery, StaysPageQuery),
    responses((status = 200, body = StaysView), (status = 304), (status = "default", response = crate::problems::AnyProblem)),
)]
pub(crate) async fn list_arrivals(
    in_property: InProperty<SignedIn>,
    reads: Reads,
    Query(query): Query<DayQuery>,
    pages: Pages,
) -> ApiResult<Response> {
    list(List::Arrivals, &in_property, &reads, &query, &pages).await
}

/// The departures of a day.
#[utoipa::path(
    get, path = "/departures", tag = "workbench", security(("dpop" = [])), params(PropertyQuery, DayQuery, StaysPageQuery),
    responses((status = 200, body = StaysView), (status = 304), (status = "default", response = crate::problems::AnyProblem)),
)]
pub(crate) async fn list_departures(
    in_property: InProperty<SignedIn>,
    reads: Reads,
    Query(query): Query<DayQuery>,
    pages: Pages,
) -> ApiResult<Response> {
    list(List::Departures, &in_property, &reads, &query, &pages).await
}

/// Guests in house.
#[utoipa::path(
    get, path = "/in-house", tag = "workbench", security(("dpop" = [])), params(PropertyQuery, DayQuery, StaysPageQuery),
    responses((status = 200, body = StaysView), (status = 304), (status = "default", response = crate::problems::AnyProblem)),
)]
pub(crate) async fn list_in_house(
    in_property: InProperty<SignedIn>,
    reads: Reads,
    Query(query): Query<DayQuery>,
    pages: Pages,
) -> ApiResult<Response> {
    list(List::InHouse, &in_property, &reads, &query, &pages).await
}

async fn list(
    list: List,
    in_property: &InProperty<SignedIn>,
    reads: &Reads,
    query: &DayQuery,
    pages: &Pages,
) -> ApiResult<Response> {
    let day = reads.day(in_property.property, date("query.date", query.date.as_deref())?);
    let viewed = reads.composer().stays_view(&day, list, &reads.context()).await;
    let ComposedView { mut view, origins } = viewed.map_err(without_stays)?;
    (view.items, view.next_cursor) =
        pages.page(view.items, |row: &WorkbenchRow| row.stay.reservation_id.as_str())?;
    Ok(reads.respond_composed(&origins, &view))
}

fn without_stays(error: ReadError) -> ApiError {
    read_problem(Upstream::Reservation, &error)
}
