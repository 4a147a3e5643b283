//! `GET /api/v1/housekeeping/board`: every room in the column of its status, with what is to be
//! done in it.

use axum::response::Response;
use contracts::id::{PropertyId, TenantId};
use contracts::upstream::housekeeping::{
    Board, BoardColumn, BoardRoom, BoardTask, RoomStatus, Summary,
};
use jiff::Timestamp;
use service_kit::extract::PropertyQuery;
use service_kit::of_property::OfProperty;
use service_kit::postgres::{self, Database, StoreError, Transaction};
use service_kit::problem::ApiResult;
use service_kit::row;
use service_kit::service::ReadProblems;
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
    responses(
        (status = 200, description = "One column per status, rooms by floor, then number.", body = Board,
            headers(("ETag" = String, description = "Changes with a room, a task or a number."))),
        ReadProblems,
    ),
    security(("requestToken" = [])),
)]
pub(crate) async fn handler(asked: OfProperty) -> ApiResult<Response> {
    let found = read(&asked.database, asked.tenant(), asked.property, asked.now).await?;
    let board = asked.found(found)?;
    let numbers = (board.pending_tasks_at_arrival_window, board.time_to_ready_minutes);
    Ok(asked.answer(&(numbers, &board.columns), &board))
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

fn board(summary: &Summary, rooms: Vec<Standing>) -> Board {
    let empty = |status| BoardColumn { status, rooms: Vec::new() };
    let mut columns = RoomStatus::ALL.map(empty);
    for (status, room) in rooms {
        columns[status as usize].rooms.push(room);
    }
    Board {
        property_id: summary.property_id,
        as_of: summary.as_of,
        pending_tasks_at_arrival_window: summary.pending_tasks_at_arrival_window,
        time_to_ready_minutes: summary.time_to_ready_minutes,
        // Nothing here counts linen yet.
        linen_runway_minutes: None,
        columns: columns.into(),
    }
}

/// $1 property, $2 now. A room that nobody touched yet counts as dirty: it was not seen clean. Who
/// comes next is known from turnovers: from open ones, even when overdue, and from those finished on
/// the property's day whose guest is still to come. Numbers of one length sort as numbers do: 9, 10,
/// 101.
pub(crate) const BOARD: &str = "
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

/// A room and the column it stands in.
type Standing = (RoomStatus, BoardRoom);

async fn rooms(
    transaction: &Transaction<'_>,
    property: PropertyId,
    now: Timestamp,
) -> Result<Vec<Standing>, StoreError> {
    let statement = transaction.prepare_cached(BOARD).await?;
    let rows = transaction.query(&statement, &[&property.as_str(), &now]).await?;
    rows.iter().map(from_row).collect()
}

fn from_row(row: &Row) -> Result<Standing, StoreError> {
    let room = BoardRoom {
        room_id: row::id(row, "room_id")?,
        number: row::get(row, "number")?,
        floor: row::get(row, "floor")?,
        since: row::get(row, "since")?,
        next_arrival_at: row::get(row, "next_arrival_at")?,
        open_tasks: row::total(row, "tasks")?,
        task: task(row)?,
    };
    Ok((row::name(row, "room_status")?, room))
}

/// `None` for a room without an open one.
fn task(row: &Row) -> Result<Option<BoardTask>, StoreError> {
    let Some(task_id) = row::optional_id(row, "task_id")? else { return Ok(None) };
    Ok(Some(BoardTask {
        task_id,
        kind: row::name(row, "kind")?,
        priority: row::name(row, "priority")?,
        status: row::name(row, "status")?,
        assigned_to: row::optional_id(row, "assigned_staff_id")?,
        scheduled_for: row::get(row, "scheduled_for")?,
    }))
}
