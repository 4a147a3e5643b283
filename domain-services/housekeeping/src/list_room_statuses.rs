//! `GET /api/v1/housekeeping/rooms/status`: the state of every room of a property.

use axum::response::Response;
use contracts::upstream::housekeeping::{RoomState, RoomStatus, RoomStatuses};
use service_kit::extract::PropertyQuery;
use service_kit::pg_row;
use service_kit::postgres::StoreError;
use service_kit::problem::ApiResult;
use service_kit::property_read::PropertyRead;
use tokio_postgres::Row;

#[cfg(test)]
mod tests;

/// Every room with its status, and how many have each.
#[utoipa::path(
    get,
    path = "/api/v1/housekeeping/rooms/status",
    operation_id = "getRoomStatuses",
    params(PropertyQuery),
    responses((status = 200, description = "All rooms, by floor, then number.", body = RoomStatuses,
        headers(("ETag" = String, description = "Changes when a room does.")))),
)]
pub(crate) async fn handler(request: PropertyRead) -> ApiResult<Response> {
    let rows = request.rows(ROOMS_SQL, &[]).await?;
    let rooms = rows.iter().filter_map(|row| from_row(row).transpose());
    let rooms: Vec<RoomState> = rooms.collect::<Result<_, _>>()?;
    let having = |status| rooms.iter().filter(|room| room.status == status).count() as u32;
    let counts = RoomStatus::ALL.iter().map(|&status| (status, having(status))).collect();
    let (property_id, as_of) = (request.property, request.now.into());
    let body = RoomStatuses { property_id, as_of, counts, rooms };
    Ok(request.respond(&body.rooms, &body))
}

/// $1 property. No row when the tenant has no such property; one row without a room when the property
/// has none.
/// A room without a status counts as dirty. Room numbers are sorted by length first:
/// 9, 10, 101.
pub(crate) const ROOMS_SQL: &str = "
    SELECT room.id AS room_id, room.number, room.floor,
           coalesce(state.status, 'dirty') AS status, coalesce(state.since, room.created_at) AS since
    FROM housekeeping.properties AS property
    LEFT JOIN housekeeping.rooms AS room ON room.property_id = property.id AND room.archived_at IS NULL
    LEFT JOIN housekeeping.room_status AS state
        ON state.room_id = room.id AND state.property_id = property.id
    WHERE property.id = $1::text
    ORDER BY room.floor, length(room.number), room.number COLLATE \"C\", room.id";

/// `None` for the row of a property without rooms.
fn from_row(row: &Row) -> Result<Option<RoomState>, StoreError> {
    let Some(room_id) = pg_row::optional_id(row, "room_id")? else { return Ok(None) };
    Ok(Some(RoomState {
        room_id,
        number: pg_row::get(row, "number")?,
        floor: pg_row::get(row, "floor")?,
        status: pg_row::name(row, "status")?,
        since: pg_row::instant(row, "since")?,
    }))
}
