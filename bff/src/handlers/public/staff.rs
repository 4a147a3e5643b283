//! `GET /staff/shifts`, `/staff/capacity` and `/staff/on-duty`: planned shifts, numbers present,
//! and who is present.

use axum::response::Response;
use composer::property_read::{PropertyDay, PropertyRead, fetch};
use composer::read_policy::ReadPolicy;
use composer::widgets::STAFF_ON_DUTY;
use contracts::lists::ShiftList;
use contracts::upstream::Upstream;
use contracts::upstream::staff::{Capacity, OnDuty, Shift, Shifts};
use service_kit::extract::Query;
use service_kit::problem::ApiResult;

use crate::edge::permissions::ViewStaffing;
use crate::edge::{InProperty, PropertyQuery};
use crate::reads::cached_read::Reads;
use crate::reads::pagination::{PageQuery, Pagination};
use crate::reads::params::DayQuery;

static SHIFTS: PropertyRead = PropertyRead {
    policy: ReadPolicy::new("staffShifts", Upstream::Staff, 500)
        .fresh_secs(30)
        .stale_secs(300)
        .of_today(),
    call: |to| fetch(async move { to.upstreams.shifts(&to.context, to.property, to.day).await }),
};

static CAPACITY: PropertyRead = PropertyRead {
    policy: ReadPolicy::new("staffCapacity", Upstream::Staff, 400).fresh_secs(30).stale_secs(300),
    call: |to| fetch(async move { to.upstreams.capacity(&to.context, to.property).await }),
};

/// The shifts that begin on a day, with their assignments.
#[utoipa::path(
    get, path = "/staff/shifts", tag = "staff", params(PropertyQuery, DayQuery, PageQuery),
    responses((status = 200, body = ShiftList), (status = 304)),
)]
pub(crate) async fn list_shifts(
    in_property: InProperty<ViewStaffing>,
    reads: Reads,
    Query(query): Query<DayQuery>,
    pagination: Pagination,
) -> ApiResult<Response> {
    let (property, day) = (in_property.property, query.day()?);
    let (reading, found) = reads.content(&SHIFTS, PropertyDay { property, day }).await?;
    let Shifts { property_id, time_zone, as_of, date, shifts } = found;
    let (items, next_cursor) = pagination.page(shifts, |shift: &Shift| shift.shift_id.as_str())?;
    let list = ShiftList { property_id, time_zone, as_of, date, items, next_cursor };
    Ok(reads.respond(&SHIFTS, &reading, &list))
}

/// Staff present and planned now, by department and position.
#[utoipa::path(
    get, path = "/staff/capacity", tag = "staff", params(PropertyQuery),
    responses((status = 200, body = Capacity), (status = 304)),
)]
pub(crate) async fn get_capacity(
    in_property: InProperty<ViewStaffing>,
    reads: Reads,
) -> ApiResult<Response> {
    reads.serve(&CAPACITY, in_property.property).await
}

/// Staff present now. The dashboard shows the same data.
#[utoipa::path(
    get, path = "/staff/on-duty", tag = "staff", params(PropertyQuery),
    responses((status = 200, body = OnDuty), (status = 304)),
)]
pub(crate) async fn get_on_duty(
    in_property: InProperty<ViewStaffing>,
    reads: Reads,
) -> ApiResult<Response> {
    reads.serve(&STAFF_ON_DUTY.read, in_property.property).await
}
