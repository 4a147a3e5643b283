//! The query for rooms by type and night, shared by availability and calendar.

use contracts::id::PropertyId;
use contracts::upstream::inventory::{NightAvailability, RoomTypeAvailability};
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};
use serde::Deserialize;
use service_kit::caller::Caller;
use service_kit::extract::date;
use service_kit::pg_row;
use service_kit::postgres::{StoreError, Transaction};
use service_kit::problem::{ApiError, ApiResult};
use tokio_postgres::Row;

/// Nights per request.
const MAX_NIGHTS: i32 = 60;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Params {
    /// First night; today in the property's time zone when absent.
    #[param(value_type = Option<String>, format = Date)]
    pub(crate) from: Option<String>,
    /// The day after the last night, at most 60 nights on; 14 nights after `from` when absent.
    #[param(value_type = Option<String>, format = Date)]
    pub(crate) to: Option<String>,
}

/// The requested nights; the query fills in defaults in the property's time zone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) first: Option<Date>,
    pub(crate) past: Option<Date>,
}

impl Window {
    pub(crate) fn parse(params: &Params) -> ApiResult<Self> {
        let first = date("query.from", params.from.as_deref())?;
        let past = match (first, date("query.to", params.to.as_deref())?) {
            (Some(first), None) => Some(default_end(first)?),
            (_, past) => past,
        };
        if let (Some(first), Some(past)) = (first, past) {
            check(first, past)?;
        }
        Ok(Self { first, past })
    }
}

fn default_end(first: Date) -> ApiResult<Date> {
    first
        .checked_add(14.days())
        .map_err(|_| ApiError::field("query.from", "INVALID", "Send an earlier date."))
}

fn check(first: Date, past: Date) -> ApiResult<()> {
    let nights = (past - first).get_days();
    if nights < 1 {
        return Err(ApiError::field("query.to", "INVALID", "Send a `to` that is after `from`."));
    }
    if nights > MAX_NIGHTS {
        return Err(ApiError::field("query.to", "TOO_LONG", "Request at most 60 nights at once."));
    }
    Ok(())
}

/// $1 property, $2 now, $3 first night or null, $4 the day after the last or null. No row when the
/// tenant has no such property; one row without a room type when the property has none; else one per
/// type and night, with zeros where there is no calendar row. The two redundant comparisons let Postgres
/// skip the partitions of other months.
pub(crate) const NIGHTS_SQL: &str = "
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

/// The result of [`NIGHTS_SQL`].
pub(crate) struct Nights {
    pub(crate) time_zone: String,
    pub(crate) first: Date,
    pub(crate) past: Date,
    pub(crate) room_types: Vec<RoomTypeAvailability>,
}

impl Nights {
    /// Reads the nights, and refuses a property that the tenant does not have (404), one outside the
    /// caller's scope (403) and, with the defaults filled in, a window that is too long. In this order,
    /// so that properties of other tenants look unknown.
    pub(crate) async fn read(
        transaction: &Transaction<'_>,
        caller: &Caller,
        property: PropertyId,
        window: Window,
        now: Timestamp,
    ) -> ApiResult<Self> {
        let rows = transaction
            .query(NIGHTS_SQL, &[&property.as_str(), &now, &window.first, &window.past])
            .await?;
        let nights = Self::from_rows(&rows)?.ok_or_else(ApiError::not_found)?;
        caller.require(property)?;
        check(nights.first, nights.past)?;
        Ok(nights)
    }

    fn from_rows(rows: &[Row]) -> Result<Option<Self>, StoreError> {
        let Some(head) = rows.first() else { return Ok(None) };
        let mut nights = Self {
            time_zone: pg_row::get(head, "time_zone")?,
            first: pg_row::get(head, "first")?,
            past: pg_row::get(head, "past")?,
            room_types: Vec::new(),
        };
        for row in rows {
            nights.add(row)?;
        }
        Ok(Some(nights))
    }

    /// Adds a row. Rows are sorted by type.
    fn add(&mut self, row: &Row) -> Result<(), StoreError> {
        let Some(room_type_id) = pg_row::optional_id(row, "room_type_id")? else { return Ok(()) };
        if self.room_types.last().is_none_or(|last| last.room_type_id != room_type_id) {
            let (name, nights) = (pg_row::get(row, "name")?, Vec::new());
            self.room_types.push(RoomTypeAvailability { room_type_id, name, nights });
        }
        // No date: the window is empty, which the handler refuses.
        if let (Some(room_type), Some(night)) = (self.room_types.last_mut(), from_row(row)?) {
            room_type.nights.push(night);
        }
        Ok(())
    }
}

fn from_row(row: &Row) -> Result<Option<NightAvailability>, StoreError> {
    let Some(date): Option<Date> = pg_row::get(row, "date")? else { return Ok(None) };
    let total = pg_row::count(row, "total")?;
    let held = pg_row::count(row, "held")?;
    let committed = pg_row::count(row, "committed")?;
    let oos_blocked = pg_row::count(row, "oos_blocked")?;
    let stop_sell = pg_row::get(row, "stop_sell")?;
    let sellable = total + pg_row::count(row, "overbooking_cap")?;
    let left = sellable.saturating_sub(held + committed + oos_blocked);
    let available = if stop_sell { 0 } else { left };
    let date = date.into();
    Ok(Some(NightAvailability { date, total, held, committed, oos_blocked, available, stop_sell }))
}
