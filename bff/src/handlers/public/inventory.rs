//! `GET /inventory/availability` and `GET /inventory/calendar`: availability by room type and
//! night, and the same with each room's stays.

use axum::response::Response;
use composer::availability::availability;
use composer::read_policy::ReadPolicy;
use composer::snapshots::Key;
use composer::widgets::AVAILABILITY;
use contracts::upstream::Upstream;
use contracts::upstream::inventory::{Availability, Calendar};
use jiff::civil::Date;
use serde::Deserialize;
use service_kit::extract::{Query, date};
use service_kit::problem::ApiResult;
use upstream_clients::DateRange;

use crate::edge::permissions::Reception;
use crate::edge::{InProperty, PropertyQuery, SignedIn};
use crate::reads::cached_read::Reads;

static CALENDAR: ReadPolicy =
    ReadPolicy::new("calendar", Upstream::Inventory, 500).fresh_secs(15).stale_secs(600).of_today();

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(crate) struct NightsQuery {
    /// First night; today in the property's time zone when left out.
    #[param(value_type = Option<String>, format = Date)]
    from: Option<String>,
    /// The day after the last night, at most 60 nights on; 14 nights after `from` when left out.
    #[param(value_type = Option<String>, format = Date)]
    to: Option<String>,
}

impl NightsQuery {
    fn nights(&self) -> ApiResult<DateRange> {
        let from = date("query.from", self.from.as_deref())?;
        Ok(DateRange { from, to: date("query.to", self.to.as_deref())? })
    }
}

/// Rooms by type and night, overbooking and stop-sell applied.
#[utoipa::path(
    get, path = "/inventory/availability", tag = "inventory", params(PropertyQuery, NightsQuery),
    responses((status = 200, body = Availability), (status = 304)),
)]
pub(crate) async fn get_availability(
    in_property: InProperty<SignedIn>,
    reads: Reads,
    Query(query): Query<NightsQuery>,
) -> ApiResult<Response> {
    let (property, nights) = (in_property.property, query.nights()?);
    let policy = &AVAILABILITY.read.policy;
    let key = of_nights(reads.key_in(policy, property), nights);
    reads
        .serve_keyed(policy, key, move |to, context| availability(to, context, property, nights))
        .await
}

/// Rooms by type and night, each room's stays, and why a room is not for sale.
#[utoipa::path(
    get, path = "/inventory/calendar", tag = "inventory", params(PropertyQuery, NightsQuery),
    responses((status = 200, body = Calendar), (status = 304)),
)]
pub(crate) async fn get_calendar(
    in_property: InProperty<Reception>,
    reads: Reads,
    Query(query): Query<NightsQuery>,
) -> ApiResult<Response> {
    let (property, nights) = (in_property.property, query.nights()?);
    let key = of_nights(reads.key_in(&CALENDAR, property), nights);
    reads
        .serve_keyed(&CALENDAR, key, move |to, context| async move {
            to.calendar(&context, property, nights).await
        })
        .await
}

/// Without a first night the range starts today, so the snapshot expires with the day.
fn of_nights(key: Key, nights: DateRange) -> Key {
    let key = key.narrowed(part(nights));
    if nights.from.is_some() { key.of_named_days() } else { key }
}

/// The default range shares the dashboard's snapshot.
fn part(nights: DateRange) -> String {
    let DateRange { from, to } = nights;
    let day = |day: Option<Date>| day.map_or_else(String::new, |day| day.to_string());
    if from.or(to).is_none() { String::new() } else { format!("{}..{}", day(from), day(to)) }
}
