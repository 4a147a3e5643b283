//! `GET /staff/shifts`, `/staff/capacity` and `/staff/on-duty`: who is to work, how many are there,
//! and who they are.

use axum::response::Response;
use composer::read_policies::{STAFF_CAPACITY, STAFF_ON_DUTY, STAFF_SHIFTS};
use composer::snapshots::Fetched;
use contracts::lists::ShiftList;
use contracts::role::{Role, RoleSet};
use contracts::upstream::staff::{Capacity, OnDuty, Shift, Shifts};
use serde::Deserialize;
use service_kit::extract::{Query, date};
use service_kit::problem::ApiResult;

use crate::edge::{InProperty, Permission};
use crate::reads::cached_read::Reads;
use crate::reads::pagination::{PageQuery, Paging};
use crate::reads::params::PropertyQuery;

/// May see who works when.
#[derive(Debug, Clone, Copy)]
pub struct Leads;

impl Permission for Leads {
    const ROLES: RoleSet = RoleSet::of(&[
        Role::TenantAdmin,
        Role::PropertyGm,
        Role::FrontDeskManager,
        Role::HousekeepingManager,
        Role::MaintenanceManager,
    ]);
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct ShiftsQuery {
    /// The property shown; it must be in the caller's scope.
    #[param(rename = "propertyId", value_type = String, required = true)]
    #[serde(rename = "propertyId")]
    _property: Option<String>,
    /// Today in the property's time zone when left out.
    #[param(value_type = Option<String>, format = Date)]
    date: Option<String>,
}

/// The shifts that begin on a day, and who has them.
#[utoipa::path(
    get, path = "/staff/shifts", tag = "staff", security(("dpop" = [])), params(ShiftsQuery, PageQuery),
    responses((status = 200, body = ShiftList), (status = 304), (status = "default", response = crate::problems::AnyProblem)),
)]
pub async fn list_shifts(
    in_property: InProperty<Leads>,
    reads: Reads,
    Query(query): Query<ShiftsQuery>,
    paging: Paging,
) -> ApiResult<Response> {
    let (property, day) = (in_property.property, date("query.date", query.date.as_deref())?);
    let key = reads.key_in(&STAFF_SHIFTS, property).on(day);
    let (reading, found) = reads
        .content(&STAFF_SHIFTS, key, move |upstreams, context| async move {
            let it = upstreams.shifts(&context, property, day).await?;
            Ok(Fetched::new(it.property_id, it.as_of, &it).in_zone(&it.time_zone))
        })
        .await?;
    let Shifts { property_id, time_zone, as_of, date, shifts } = found;
    let (items, next_cursor) = paging.page(shifts, |shift: &Shift| shift.shift_id.as_str())?;
    let list = ShiftList { property_id, time_zone, as_of, date, items, next_cursor };
    Ok(reads.shown(&STAFF_SHIFTS, &reading, &list))
}

/// How many are on the floor now, of how many, by department and position.
#[utoipa::path(
    get, path = "/staff/capacity", tag = "staff", security(("dpop" = [])), params(PropertyQuery),
    responses((status = 200, body = Capacity), (status = 304), (status = "default", response = crate::problems::AnyProblem)),
)]
pub async fn get_capacity(in_property: InProperty<Leads>, reads: Reads) -> ApiResult<Response> {
    let property = in_property.property;
    let key = reads.key_in(&STAFF_CAPACITY, property);
    reads
        .answer(&STAFF_CAPACITY, key, move |upstreams, context| async move {
            let it = upstreams.capacity(&context, property).await?;
            Ok(Fetched::new(it.property_id, it.as_of, &it))
        })
        .await
}

/// Who is on the floor now. The dashboard shows the same answer.
#[utoipa::path(
    get, path = "/staff/on-duty", tag = "staff", security(("dpop" = [])), params(PropertyQuery),
    responses((status = 200, body = OnDuty), (status = 304), (status = "default", response = crate::problems::AnyProblem)),
)]
pub async fn get_on_duty(in_property: InProperty<Leads>, reads: Reads) -> ApiResult<Response> {
    let property = in_property.property;
    let key = reads.key_in(&STAFF_ON_DUTY, property);
    reads
        .answer(&STAFF_ON_DUTY, key, move |upstreams, context| async move {
            let it = upstreams.on_duty(&context, property).await?;
            Ok(Fetched::new(it.property_id, it.as_of, &it))
        })
        .await
}
