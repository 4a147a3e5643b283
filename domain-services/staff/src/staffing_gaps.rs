//! `GET /api/v1/staff/forecast/staffing-gaps`: people missing in the plan of the next 24
//! hours.

use axum::response::Response;
use contracts::upstream::staff::{DepartmentStaffing, StaffedHour, StaffingGaps};
use service_kit::extract::PropertyQuery;
use service_kit::pg_row;
use service_kit::postgres::StoreError;
use service_kit::problem::ApiResult;
use service_kit::property_read::PropertyRead;
use tokio_postgres::Row;

use crate::group_by_department::group_by_department;

#[cfg(test)]
mod tests;

/// People needed and scheduled, by department and hour.
#[utoipa::path(
    get,
    path = "/api/v1/staff/forecast/staffing-gaps",
    operation_id = "getStaffingGaps",
    params(PropertyQuery),
    responses((status = 200, description = "By name of the department, 24 hours each.",
        body = StaffingGaps,
        headers(("ETag" = String, description = "Changes with the plan and with the hour.")))),
)]
pub(crate) async fn handler(request: PropertyRead) -> ApiResult<Response> {
    let (property_id, as_of) = (request.property, request.now);
    let rows = request.rows(STAFFING_GAPS_SQL, &[&as_of]).await?;
    let departments = group_by_department(&rows, department, add)?;
    // Degraded, because there is no forecast of ai-orchestrator, only the plan.
    let body = StaffingGaps { property_id, as_of: as_of.into(), degraded: true, departments };
    Ok(request.respond(&body.departments, &body))
}

/// $1 property, $2 now. No row when the tenant has no such property; one row without a department
/// when it has none; else one per department and hour. Hours begin with those of the local clock, which
/// may differ from UTC by half an hour, and are stepped as instants, so that they also work when the
/// clocks change. Assigned people who are on leave or terminated do not count.
pub(crate) const STAFFING_GAPS_SQL: &str = "
    WITH day AS (
        SELECT id AS property_id, $2::timestamptz - (local.at - date_trunc('hour', local.at)) AS began
        FROM staff.properties, LATERAL (SELECT $2::timestamptz AT TIME ZONE time_zone) AS local (at)
        WHERE id = $1::text
    ), plan AS (
        SELECT position.department_id, shift.starts_at, shift.ends_at, shift.required,
               (SELECT count(*)
                FROM staff.shift_assignments AS assignment
                JOIN staff.staff AS person ON person.id = assignment.staff_id
                WHERE assignment.shift_id = shift.id
                  AND assignment.kind = 'primary' AND assignment.status = 'assigned'
                  AND person.status NOT IN ('on_leave', 'terminated')) AS scheduled
        FROM day
        JOIN staff.shifts AS shift USING (property_id)
        JOIN staff.positions AS position ON position.id = shift.position_id
        WHERE shift.status IN ('scheduled', 'in_progress')
          AND shift.starts_at > day.began - interval '24 hours'
          AND shift.starts_at < day.began + interval '24 hours' AND shift.ends_at > day.began
    )
    SELECT department.id AS department_id, department.name AS department, hour.at AS starts_at,
           coalesce(sum(plan.required), 0)::bigint AS required,
           coalesce(sum(plan.scheduled), 0)::bigint AS scheduled,
           coalesce(sum(greatest(plan.required - plan.scheduled, 0)), 0)::bigint AS missing
    FROM day
    CROSS JOIN LATERAL generate_series(day.began, day.began + interval '23 hours', '1 hour') AS hour (at)
    LEFT JOIN staff.departments AS department ON department.property_id = day.property_id
    LEFT JOIN plan ON plan.department_id = department.id
        AND plan.starts_at < hour.at + interval '1 hour' AND plan.ends_at > hour.at
    GROUP BY department.id, department.name, hour.at
    ORDER BY department.name, department.id, hour.at";

fn department(row: &Row) -> Result<DepartmentStaffing, StoreError> {
    Ok(DepartmentStaffing { department: pg_row::get(row, "department")?, hours: Vec::new() })
}

fn add(department: &mut DepartmentStaffing, row: &Row) -> Result<(), StoreError> {
    department.hours.push(hour(row)?);
    Ok(())
}

fn hour(row: &Row) -> Result<StaffedHour, StoreError> {
    Ok(StaffedHour {
        starts_at: pg_row::instant(row, "starts_at")?,
        required: pg_row::total(row, "required")?,
        scheduled: pg_row::total(row, "scheduled")?,
        missing: pg_row::total(row, "missing")?,
    })
}
