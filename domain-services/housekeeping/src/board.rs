//! `GET /api/v1/housekeeping/board`: rooms by status, each with its most urgent task.

use axum::response::Response;
use contracts::id::{PropertyId, TenantId};
use contracts::upstream::housekeeping::{
    Board, BoardColumn, BoardRoom, BoardTask, RoomStatus, Summary,
};
use jiff::Timestamp;
use service_kit::extract::PropertyQuery;
use service_kit::pg_row;
use service_kit::postgres::{self, Database, StoreError, Transaction};
use service_kit::problem::ApiResult;
use service_kit::property_read::PropertyRead;
use tokio_postgres::Row;

use crate::summary;

#[cfg(test)]
mod tests;

/// Rooms by status, each with its most pressing task and who is expected next.
#[utoipa::path(
    get,
    path = "/api/v1/housekeeping/board",
    operation_id = "getBoard",
    params(PropertyQuery),
    responses((status = 200, body = Board,
        description = "One column per status, rooms by floor, then number.",
        headers(("ETag" = String, description = "Changes with a room, a task or a number.")))),
)]
pub(crate) async fn handler(request: PropertyRead) -> ApiResult<Response> {
    let found = read(&request.database, request.tenant(), request.property, request.now).await?;
    let board = request.found(found)?;
    let numbers = (board.pending_tasks_at_arrival_window, board.time_to_ready_minutes);
    Ok(request.respond(&(numbers, &board.columns), &board))
}

/// `None` when the tenant has no such property.
async fn read(
    database: &Database,
    tenant: TenantId,
    property: PropertyId,
    now: Timestamp,
) -> Result<Option<Board>, StoreError> {
    let mut connection = database.connection().await?;
    let transaction = postgres::read(&mut connection, tenant).await?;
    let Some(summary) = summary::find(&transaction, property, now).await? else { return Ok(None) };
    Ok(Some(board(&summary, rooms(&transaction, property, now).await?)))
}

fn board(summary: &Summary, rooms: Vec<RoomInColumn>) -> Board {
    let empty = |&status| BoardColumn { status, rooms: Vec::new() };
    let mut columns: Vec<_> = RoomStatus::ALL.iter().map(empty).collect();
    for (status, room) in rooms {
        columns[status as usize].rooms.push(room);
    }
    Board {
        property_id: summary.property_id,
        as_of: summary.as_of,
        pending_tasks_at_arrival_window: summary.pending_tasks_at_arrival_window,
        time_to_ready_minutes: summary.time_to_ready_minutes,
        // Linen is not counted yet.
        linen_runway_minutes: None,
        columns,
    }
}

/// $1 property, $2 now. A room without a status counts as dirty. The next
/// arrival is taken from turnovers: open ones, even if overdue, and those finished today whose guest has
/// not arrived. Room numbers are sorted by length first: 9, 10, 101.
pub(crate) const BOARD_SQL: &str = "
    WITH day AS (
        SELECT id AS property_id, housekeeping.start_of_day(date, time_zone) AS began,
               housekeeping.start_of_day(date + 1, time_zone) AS ended
        FROM housekeeping.properties,
             LATERAL (SELECT ($2::timestamptz AT TIME ZONE time_zone)::date) AS today (date)
        WHERE id = $1::text
    ), open AS (
        SELECT id, room_id, kind, priority, status, assigned_staff_id, scheduled_for, next_arrival_at, created_at
        FROM housekeeping.housekeeping_tasks
        WHERE property_id = $1::text AND status IN ('pending', 'assigned', 'in_progress', 'paused')
    ), pressing AS (
        SELECT DISTINCT ON (room_id) *
        FROM open
        ORDER BY room_id, array_position(ARRAY['urgent', 'high', 'normal', 'low'], priority), created_at, id
    ), expected AS (
        SELECT room_id, count(*) FILTER (WHERE open) AS tasks, min(next_arrival_at) AS next_arrival_at
        FROM (
            SELECT room_id, next_arrival_at, true AS open FROM open
            UNION ALL
            SELECT task.room_id, task.next_arrival_at, false
            FROM day JOIN housekeeping.housekeeping_tasks AS task USING (property_id)
            WHERE task.status = 'completed'
              AND coalesce(task.ended_at, task.room_ready_at, task.created_at) >= day.began
              AND coalesce(task.ended_at, task.room_ready_at, task.created_at) < day.ended
              AND task.next_arrival_at > $2::timestamptz
        ) AS known
        GROUP BY room_id
    )
    SELECT room.id AS room_id, room.number, room.floor,
           coalesce(state.status, 'dirty') AS room_status, coalesce(state.since, room.created_at) AS since,
           expected.next_arrival_at, coalesce(expected.tasks, 0) AS tasks,
           pressing.id AS task_id, pressing.kind, pressing.priority, pressing.status,
           pressing.assigned_staff_id, pressing.scheduled_for
    FROM housekeeping.rooms AS room
    LEFT JOIN housekeeping.room_status AS state
        ON state.room_id = room.id AND state.property_id = room.property_id
    LEFT JOIN pressing ON pressing.room_id = room.id
    LEFT JOIN expected ON expected.room_id = room.id
    WHERE room.property_id = $1::text AND room.archived_at IS NULL
    ORDER BY room.floor, length(room.number), room.number COLLATE \"C\", room.id";

/// A room and its column.
type RoomInColumn = (RoomStatus, BoardRoom);

async fn rooms(
    transaction: &Transaction<'_>,
    property: PropertyId,
    now: Timestamp,
) -> Result<Vec<RoomInColumn>, StoreError> {
    let rows = transaction.query(BOARD_SQL, &[&property.as_str(), &now]).await?;
    rows.iter().map(from_row).collect()
}

fn from_row(row: &Row) -> Result<RoomInColumn, StoreError> {
    let room = BoardRoom {
        room_id: pg_row::id(row, "room_id")?,
        number: pg_row::get(row, "number")?,
        floor: pg_row::get(row, "floor")?,
        since: pg_row::instant(row, "since")?,
        next_arrival_at: pg_row::optional_instant(row, "next_arrival_at")?,
        open_tasks: pg_row::total(row, "tasks")?,
        task: task(row)?,
    };
    Ok((pg_row::name(row, "room_status")?, room))
}

/// `None` for a room without an open task.
fn task(row: &Row) -> Result<Option<BoardTask>, StoreError> {
    let Some(task_id) = pg_row::optional_id(row, "task_id")? else { return Ok(None) };
    Ok(Some(BoardTask {
        task_id,
        kind: pg_row::name(row, "kind")?,
        priority: pg_row::name(row, "priority")?,
        status: pg_row::name(row, "status")?,
        assigned_to: pg_row::optional_id(row, "assigned_staff_id")?,
        scheduled_for: pg_row::optional_instant(row, "scheduled_for")?,
    }))
}
