//! `GET /api/v1/inventory/properties/{id}/calendar`: rooms by type and night, stays and
//! blocks.

use axum::extract::State;
use axum::response::Response;
use contracts::clock::Clock;
use contracts::id::PropertyId;
use contracts::upstream::inventory::{Calendar, CalendarBlock, CalendarRoom, CalendarStay};
use http::HeaderMap;
use jiff::Timestamp;
use service_kit::caller::Caller;
use service_kit::etag;
use service_kit::extract::{Path, Query};
use service_kit::pg_row;
use service_kit::postgres::{self, Database, StoreError, Transaction, Values};
use service_kit::problem::ApiResult;
use tokio_postgres::Row;

use crate::availability_query::{Nights, Params, Window};

#[cfg(test)]
mod tests;

/// Rooms by type and night, the stays that take them, and what is blocked.
#[utoipa::path(
    get,
    path = "/api/v1/inventory/properties/{id}/calendar",
    operation_id = "getCalendar",
    params(("id" = PropertyId, Path, description = "The property."), Params),
    responses((status = 200, body = Calendar,
        description = "One entry per type, one night per day; rooms, stays and blocks.",
        headers(("ETag" = String, description = "Changes with a number, a stay or a block.")))),
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
    let body = read(&database, &caller, property, window, clock.now()).await?;
    let basis = (&body.time_zone, body.from, body.to, &body.room_types);
    let basis = (basis, &body.rooms, &body.stays, &body.blocks);
    Ok(etag::respond(&headers, &basis, &body))
}

async fn read(
    database: &Database,
    caller: &Caller,
    property: PropertyId,
    window: Window,
    now: Timestamp,
) -> ApiResult<Calendar> {
    let mut connection = database.connection().await?;
    let transaction = postgres::read(&mut connection, caller.0.tenant).await?;
    let nights = Nights::read(&transaction, caller, property, window, now).await?;
    let period: Values<'_> = &[&property.as_str(), &nights.first, &nights.past];
    Ok(Calendar {
        rooms: list(&transaction, ROOMS_SQL, &[&property.as_str()], room).await?,
        stays: list(&transaction, STAYS_SQL, period, stay).await?,
        blocks: list(&transaction, BLOCKS_SQL, period, block).await?,
        property_id: property,
        time_zone: nights.time_zone,
        as_of: now.into(),
        from: nights.first.into(),
        to: nights.past.into(),
        room_types: nights.room_types,
    })
}

async fn list<T>(
    transaction: &Transaction<'_>,
    sql: &str,
    values: Values<'_>,
    item: fn(&Row) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    transaction.query(sql, values).await?.iter().map(item).collect()
}

/// $1 property. Room numbers are sorted by length first: 9, 10, 101.
pub(crate) const ROOMS_SQL: &str = "
    SELECT id AS room_id, room_type_id, number
    FROM inventory.rooms
    WHERE property_id = $1::text AND deactivated_at IS NULL
    ORDER BY length(number), number COLLATE \"C\", id";

fn room(row: &Row) -> Result<CalendarRoom, StoreError> {
    Ok(CalendarRoom {
        room_id: pg_row::id(row, "room_id")?,
        room_type_id: pg_row::id(row, "room_type_id")?,
        number: pg_row::get(row, "number")?,
    })
}

/// $1 property, $2 first night, $3 the day after the last.
pub(crate) const STAYS_SQL: &str = "
    SELECT id AS allocation_id, room_type_id, room_id, reservation_id, check_in, check_out, status,
           CASE WHEN status = 'held' THEN hold_expires_at END AS hold_expires_at
    FROM inventory.room_allocations
    WHERE property_id = $1::text AND status IN ('held', 'confirmed', 'checked_in')
      AND check_in < $3::date AND check_out > $2::date
    ORDER BY check_in, id";

fn stay(row: &Row) -> Result<CalendarStay, StoreError> {
    Ok(CalendarStay {
        allocation_id: pg_row::id(row, "allocation_id")?,
        room_type_id: pg_row::id(row, "room_type_id")?,
        room_id: pg_row::optional_id(row, "room_id")?,
        reservation_id: pg_row::optional_id(row, "reservation_id")?,
        check_in: pg_row::date(row, "check_in")?,
        check_out: pg_row::date(row, "check_out")?,
        status: pg_row::name(row, "status")?,
        hold_expires_at: pg_row::optional_instant(row, "hold_expires_at")?,
    })
}

/// $1 property, $2 first night, $3 the day after the last.
pub(crate) const BLOCKS_SQL: &str = "
    SELECT id AS block_id, kind, room_id, room_type_id, starts_on, ends_on, reason
    FROM inventory.inventory_blocks
    WHERE property_id = $1::text AND cleared_at IS NULL AND starts_on < $3::date AND ends_on > $2::date
    ORDER BY starts_on, id";

fn block(row: &Row) -> Result<CalendarBlock, StoreError> {
    Ok(CalendarBlock {
        block_id: pg_row::id(row, "block_id")?,
        kind: pg_row::name(row, "kind")?,
        room_id: pg_row::optional_id(row, "room_id")?,
        room_type_id: pg_row::optional_id(row, "room_type_id")?,
        from: pg_row::date(row, "starts_on")?,
        to: pg_row::date(row, "ends_on")?,
        reason: pg_row::get(row, "reason")?,
    })
}
