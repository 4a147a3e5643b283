//! `GET /today`, `/arrivals`, `/departures` and `/in-house`: the workbench's lists of stays.
//!
//! The stays are required; other columns may be missing, which the body reports.

use axum::extract::FromRequestParts;
use axum::response::Response;
use composer::snapshots::ReadError;
use composer::workbench::{ComposedView, List};
use contracts::upstream::Upstream;
use contracts::workbench::{StaysView, TodayView, WorkbenchRow};
use serde::Deserialize;
use service_kit::extract::Query;
use service_kit::problem::{ApiError, ApiResult};

use crate::edge::{InProperty, PropertyQuery, SignedIn};
use crate::problems::upstream::read_problem;
use crate::reads::cached_read::Reads;
use crate::reads::pagination::Pagination;
use crate::reads::params::DayQuery;
use crate::state::Gateway;

/// Further parameters of a list, for the OpenAPI document; [`ListRequest`] parses them.
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

/// Arrivals, departures and guests in house.
#[utoipa::path(
    get, path = "/today", operation_id = "show_today", tag = "workbench", params(PropertyQuery, DayQuery),
    responses((status = 200, body = TodayView), (status = 304)),
)]
pub(crate) async fn get_today(
    in_property: InProperty<SignedIn>,
    reads: Reads,
    Query(query): Query<DayQuery>,
) -> ApiResult<Response> {
    let day = reads.day(in_property.property, query.day()?);
    let viewed =
        reads.composer().today_view(&day, &reads.context()).await.map_err(without_stays)?;
    Ok(reads.respond_composed(&viewed.origins, &viewed.view))
}

/// The arrivals of a day.
#[utoipa::path(
    get, path = "/arrivals", tag = "workbench", params(PropertyQuery, DayQuery, StaysPageQuery),
    responses((status = 200, body = StaysView), (status = 304)),
)]
pub(crate) async fn list_arrivals(request: ListRequest) -> ApiResult<Response> {
    request.respond(List::Arrivals).await
}

/// The departures of a day.
#[utoipa::path(
    get, path = "/departures", tag = "workbench", params(PropertyQuery, DayQuery, StaysPageQuery),
    responses((status = 200, body = StaysView), (status = 304)),
)]
pub(crate) async fn list_departures(request: ListRequest) -> ApiResult<Response> {
    request.respond(List::Departures).await
}

/// Guests in house.
#[utoipa::path(
    get, path = "/in-house", tag = "workbench", params(PropertyQuery, DayQuery, StaysPageQuery),
    responses((status = 200, body = StaysView), (status = 304)),
)]
pub(crate) async fn list_in_house(request: ListRequest) -> ApiResult<Response> {
    request.respond(List::InHouse).await
}

/// The property, day and page of a list.
#[derive(FromRequestParts)]
#[from_request(state(Gateway))]
pub(crate) struct ListRequest {
    in_property: InProperty<SignedIn>,
    reads: Reads,
    query: Query<DayQuery>,
    /// A day's list of a hotel usually fits one page.
    pages: Pagination<1000, 1000>,
}

impl ListRequest {
    async fn respond(&self, list: List) -> ApiResult<Response> {
        let day = self.reads.day(self.in_property.property, self.query.0.day()?);
        let viewed = self.reads.composer().stays_view(&day, list, &self.reads.context()).await;
        let ComposedView { mut view, origins } = viewed.map_err(without_stays)?;
        (view.items, view.next_cursor) =
            self.pages.page(view.items, |row: &WorkbenchRow| row.stay.reservation_id.as_str())?;
        Ok(self.reads.respond_composed(&origins, &view))
    }
}

fn without_stays(error: ReadError) -> ApiError {
    read_problem(Upstream::Reservation, &error)
}
