//! `GET /api/v1/inventory/properties/{id}/availability`: what is left of each room type, night by
//! night.

use axum::extract::State;
use axum::response::Response;
use contracts::clock::Clock;
use contracts::id::{PropertyId, TenantId};
use contracts::upstream::inventory::{Availability, NightAvailability, RoomTypeAvailability};
use http::HeaderMap;
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};
use serde::Deserialize;
use service_kit::caller::Caller;
use service_kit::etag;
use service_kit::extract::{Path, Query};
use service_kit::postgres::{self, Database, StoreError};
use service_kit::problem::{ApiError, ApiResult};
use service_kit::row;
use service_kit::service::ReadProblems;
use tokio_postgres::Row;

#[cfg(test)]
mod tests;

/// Most nights one answer covers.
const LONGEST: i32 = 60;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Params {
    /// First night; today in the property's time zone when absent.
    #[param(value_type = Option<String>, format = Date)]
    from: Option<String>,
    /// The day after the last night, at most 60 nights on; 14 nights after `from` when absent.
    #[param(value_type = Option<String>, format = Date)]
    to: Option<String>,
}

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
    // After the read: only a property of the caller's own tenant may be told from an unknown one.
    caller.require(property)?;
    check(nights.first, nights.past)?;
    let body = nights.into_body(property, now);
    Ok(etag::answer(&headers, &(&body.time_zone, body.from, body.to, &body.room_types), &body))
}

/// The nights asked for; what is absent is settled where the property's time zone is known.
#[derive(Debug, Clone, Copy)]
struct Window {
    first: Option<Date>,
    past: Option<Date>,
}

impl Window {
    fn parse(params: &Params) -> ApiResult<Self> {
        let first = date("query.from", params.from.as_deref())?;
        let past = match (first, date("query.to", params.to.as_deref())?) {
            (Some(first), None) => Some(fortnight_after(first)?),
            (_, past) => past,
        };
        if let (Some(first), Some(past)) = (first, past) {
            check(first, past)?;
        }
        Ok(Self { first, past })
    }
}

fn date(field: &str, given: Option<&str>) -> ApiResult<Option<Date>> {
    let invalid = |_| ApiError::field(field, "INVALID", "Send the date as YYYY-MM-DD.");
    given.map(|text| text.parse().map_err(invalid)).transpose()
}

fn fortnight_after(first: Date) -> ApiResult<Date> {
    first
        .checked_add(14.days())
        .map_err(|_| ApiError::field("query.from", "INVALID", "Send an earlier date."))
}

fn check(first: Date, past: Date) -> ApiResult<()> {
    let nights = (past - first).get_days();
    if nights < 1 {
        return Err(ApiError::field("query.to", "INVALID", "Send a `to` that is after `from`."));
    }
    if nights > LONGEST {
        return Err(ApiError::field("query.to", "TOO_LONG", "Ask for at most 60 nights at once."));
    }
    Ok(())
}

/// $1 property, $2 now, $3 first night or null, $4 the day after the last or null. No row when the
/// tenant has no such property; one without a room type when the property has none; else one per
/// type and night, with zeros where the calendar does not reach. The two comparisons that say nothing
/// new let Postgres leave the other months' partitions alone.
pub(crate) const NIGHTS: &str = "
    WITH stay AS (
        SELECT id, time_zone, first, coalesce($4::date, first + 14) AS past
        FROM inventory.properties,
             LATERAL (SELECT coalesce($3::date, ($2::timestamptz AT TIME ZONE time_zone)::date)) AS f (first)
        WHERE id = $1::text
    )
    SELECT stay.time_zone, stay.first, stay.past, type.id AS room_type_id, type.name, night.date::date,
           coalesce(day.total, 0) AS total, coalesce(day.held, 0) AS held,
           coalesce(day.committed, 0) AS committed, coalesce(day.oos_blocked, 0) AS oos_blocked,
           coalesce(day.overbooking_cap, 0) AS overbooking_cap,
           coalesce(day.stop_sell, false) AS stop_sell
    FROM stay
    LEFT JOIN inventory.room_types AS type ON type.property_id = stay.id AND type.deactivated_at IS NULL
    LEFT JOIN LATERAL generate_series(stay.first, least(stay.past, stay.first + 60) - 1, '1 day') AS night (date)
        ON type.id IS NOT NULL
    LEFT JOIN inventory.room_type_inventory_daily AS day
        ON day.property_id = $1::text AND day.room_type_id = type.id AND day.stay_date = night.date::date
        AND day.stay_date >= (SELECT first FROM stay) AND day.stay_date < (SELECT past FROM stay)
    ORDER BY type.name, type.id, night.date";

/// The answer of [`NIGHTS`].
struct Nights {
    time_zone: String,
    first: Date,
    past: Date,
    room_types: Vec<RoomTypeAvailability>,
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
    let statement = transaction.prepare_cached(NIGHTS).await?;
    let rows = transaction
        .query(&statement, &[&property.as_str(), &now, &window.first, &window.past])
        .await?;
    Nights::from_rows(&rows)
}

impl Nights {
    fn from_rows(rows: &[Row]) -> Result<Option<Self>, StoreError> {
        let Some(head) = rows.first() else { return Ok(None) };
        let mut nights = Self {
            time_zone: row::get(head, "time_zone")?,
            first: row::get(head, "first")?,
            past: row::get(head, "past")?,
            room_types: Vec::new(),
        };
        for row in rows {
            nights.add(row)?;
        }
        Ok(Some(nights))
    }

    /// Rows come by type, so that a night belongs to the last one or begins the next.
    fn add(&mut self, row: &Row) -> Result<(), StoreError> {
        let Some(room_type_id) = row::optional_id(row, "room_type_id")? else { return Ok(()) };
        if self.room_types.last().is_none_or(|last| last.room_type_id != room_type_id) {
            let (name, nights) = (row::get(row, "name")?, Vec::new());
            self.room_types.push(RoomTypeAvailability { room_type_id, name, nights });
        }
        // No date: the window is empty, which the handler refuses.
        if let (Some(room_type), Some(night)) = (self.room_types.last_mut(), from_row(row)?) {
            room_type.nights.push(night);
        }
        Ok(())
    }

    fn into_body(self, property_id: PropertyId, as_of: Timestamp) -> Availability {
        Availability {
            property_id,
            time_zone: self.time_zone,
            as_of,
            from: self.first,
            to: self.past,
            room_types: self.room_types,
        }
    }
}

fn from_row(row: &Row) -> Result<Option<NightAvailability>, StoreError> {
    let Some(date) = row::get(row, "date")? else { return Ok(None) };
    let total = row::count(row, "total")?;
    let held = row::count(row, "held")?;
    let committed = row::count(row, "committed")?;
    let oos_blocked = row::count(row, "oos_blocked")?;
    let stop_sell = row::get(row, "stop_sell")?;
    let sellable = total + row::count(row, "overbooking_cap")?;
    let left = sellable.saturating_sub(held + committed + oos_blocked);
    let available = if stop_sell { 0 } else { left };
    Ok(Some(NightAvailability { date, total, held, committed, oos_blocked, available, stop_sell }))
}
