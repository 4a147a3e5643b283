//! `GET /api/v1/housekeeping/summary`: today's work in numbers.

use axum::response::Response;
use contracts::id::PropertyId;
use contracts::upstream::housekeeping::{Summary, TaskStatus};
use jiff::Timestamp;
use service_kit::extract::PropertyQuery;
use service_kit::pg_row;
use service_kit::postgres::{StoreError, Transaction};
use service_kit::problem::ApiResult;
use service_kit::property_read::PropertyRead;
use tokio_postgres::Row;

#[cfg(test)]
mod tests;

/// Tasks by status, what is urgent, and how fast rooms get ready.
#[utoipa::path(
    get,
    path = "/api/v1/housekeeping/summary",
    operation_id = "getSummary",
    params(PropertyQuery),
    responses((status = 200, description = "Today's numbers.", body = Summary,
        headers(("ETag" = String, description = "Changes with the numbers.")))),
)]
pub(crate) async fn handler(request: PropertyRead) -> ApiResult<Response> {
    let rows = request.rows(SUMMARY_SQL, &[&request.now]).await?;
    let body = from_row(&rows[0], request.property, request.now)?;
    let basis = (
        &body.tasks,
        body.urgent_open,
        body.pending_tasks_at_arrival_window,
        body.time_to_ready_minutes,
    );
    Ok(request.respond(&basis, &body))
}

/// $1 property, $2 now. No row when the tenant has no such property. Open tasks are found by
/// one index, closed ones of the local day by another. An overdue arrival counts as within the window:
/// its guest is waiting.
pub(crate) const SUMMARY_SQL: &str = "
    WITH day AS (
        SELECT id AS property_id, housekeeping.start_of_day(date, time_zone) AS began,
               housekeeping.start_of_day(date + 1, time_zone) AS ended
        FROM housekeeping.properties,
             LATERAL (SELECT ($2::timestamptz AT TIME ZONE time_zone)::date) AS today (date)
        WHERE id = $1::text
    ), tasks AS (
        SELECT status, kind, priority, next_arrival_at, true AS open
        FROM housekeeping.housekeeping_tasks
        WHERE property_id = $1::text AND status IN ('pending', 'assigned', 'in_progress', 'paused')
        UNION ALL
        SELECT task.status, task.kind, task.priority, task.next_arrival_at, false
        FROM day JOIN housekeeping.housekeeping_tasks AS task USING (property_id)
        WHERE task.status IN ('completed', 'failed', 'cancelled')
          AND coalesce(task.ended_at, task.room_ready_at, task.created_at) >= day.began
          AND coalesce(task.ended_at, task.room_ready_at, task.created_at) < day.ended
    ), numbers AS (
        SELECT count(*) FILTER (WHERE status = 'pending') AS pending,
               count(*) FILTER (WHERE status = 'assigned') AS assigned,
               count(*) FILTER (WHERE status = 'in_progress') AS in_progress,
               count(*) FILTER (WHERE status = 'paused') AS paused,
               count(*) FILTER (WHERE status = 'completed') AS completed,
               count(*) FILTER (WHERE status = 'failed') AS failed,
               count(*) FILTER (WHERE status = 'cancelled') AS cancelled,
               count(*) FILTER (WHERE open AND priority = 'urgent') AS urgent_open,
               count(*) FILTER (WHERE open AND kind = 'turnover'
                                AND next_arrival_at <= $2::timestamptz + interval '90 minutes') AS at_arrival
        FROM tasks
    ), ready AS (
        SELECT percentile_cont(0.5) WITHIN GROUP (
                   ORDER BY extract(epoch FROM task.room_ready_at - task.checked_out_at)::float8 / 60
               ) AS median_minutes
        FROM day JOIN housekeeping.housekeeping_tasks AS task USING (property_id)
        WHERE task.room_ready_at >= day.began AND task.room_ready_at < day.ended
          AND task.kind = 'turnover' AND task.checked_out_at IS NOT NULL
    )
    SELECT numbers.*, ready.median_minutes FROM day, numbers, ready";

/// `None` when the tenant has no such property.
pub(crate) async fn find(
    transaction: &Transaction<'_>,
    property: PropertyId,
    now: Timestamp,
) -> Result<Option<Summary>, StoreError> {
    let row = transaction.query_opt(SUMMARY_SQL, &[&property.as_str(), &now]).await?;
    row.map(|row| from_row(&row, property, now)).transpose()
}

fn from_row(row: &Row, property_id: PropertyId, as_of: Timestamp) -> Result<Summary, StoreError> {
    // A column of each status counts its tasks.
    let number = |&status: &TaskStatus| Ok((status, pg_row::total(row, status.into())?));
    Ok(Summary {
        property_id,
        as_of: as_of.into(),
        tasks: TaskStatus::ALL.iter().map(number).collect::<Result<_, StoreError>>()?,
        urgent_open: pg_row::total(row, "urgent_open")?,
        pending_tasks_at_arrival_window: pg_row::total(row, "at_arrival")?,
        time_to_ready_minutes: pg_row::get(row, "median_minutes")?,
    })
}
