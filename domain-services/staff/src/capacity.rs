//! `GET /api/v1/staff/capacity`: people required, scheduled and present, by department and
//! position.

use axum::response::Response;
use contracts::upstream::staff::{Capacity, DepartmentCapacity, PositionCapacity};
use service_kit::extract::PropertyQuery;
use service_kit::pg_row;
use service_kit::postgres::StoreError;
use service_kit::problem::ApiResult;
use service_kit::property_read::PropertyRead;
use tokio_postgres::Row;

use crate::group_by_department::group_by_department;
use crate::presence_sql::present;

#[cfg(test)]
mod tests;

/// People needed, scheduled and present, by department and position.
#[utoipa::path(
    get,
    path = "/api/v1/staff/capacity",
    operation_id = "getCapacity",
    params(PropertyQuery),
    responses((status = 200, description = "By name of the department, then of the position.",
        body = Capacity, headers(("ETag" = String, description = "Changes with the numbers.")))),
)]
pub(crate) async fn handler(request: PropertyRead) -> ApiResult<Response> {
    let (property_id, as_of) = (request.property, request.now);
    let rows = request.rows(CAPACITY_SQL, &[&as_of]).await?;
    let departments = group_by_department(&rows, department, add)?;
    let body = Capacity { property_id, as_of: as_of.into(), departments };
    Ok(request.respond(&body.departments, &body))
}

/// $1 property, $2 now. One row per position of the property, and one for a department without any;
/// none when the tenant has no such property, because every property has departments. People on loan
/// from another property are counted under their own position.
pub(crate) const CAPACITY_SQL: &str = concat!(
    "
    WITH present AS (",
    present!(),
    "
    ), here AS (
        SELECT position_id, count(*) AS people FROM present GROUP BY position_id
    ), running AS (
        SELECT shift.position_id, sum(shift.required) AS required,
               sum((SELECT count(*) FROM staff.shift_assignments AS assignment
                    WHERE assignment.shift_id = shift.id
                      AND assignment.kind = 'primary' AND assignment.status = 'assigned'))::bigint AS scheduled
        FROM staff.shifts AS shift
        WHERE shift.property_id = $1::text AND shift.status IN ('scheduled', 'in_progress')
          AND shift.starts_at > $2::timestamptz - interval '24 hours'
          AND shift.starts_at <= $2::timestamptz AND shift.ends_at > $2::timestamptz
        GROUP BY shift.position_id
    )
    SELECT department.id AS department_id, department.name AS department, position.name AS position,
           coalesce(running.required, 0) AS required, coalesce(running.scheduled, 0) AS scheduled,
           coalesce(here.people, 0) AS present
    FROM staff.departments AS department
    LEFT JOIN staff.positions AS position ON position.department_id = department.id
    LEFT JOIN running ON running.position_id = position.id
    LEFT JOIN here ON here.position_id = position.id
    WHERE department.property_id = $1::text OR here.people > 0
    ORDER BY department.name, department.id, position.name, position.id"
);

fn department(row: &Row) -> Result<DepartmentCapacity, StoreError> {
    Ok(DepartmentCapacity { department: pg_row::get(row, "department")?, positions: Vec::new() })
}

fn add(department: &mut DepartmentCapacity, row: &Row) -> Result<(), StoreError> {
    department.positions.extend(from_row(row)?);
    Ok(())
}

/// `None` for the row of a department without positions.
fn from_row(row: &Row) -> Result<Option<PositionCapacity>, StoreError> {
    let Some(position) = pg_row::get(row, "position")? else { return Ok(None) };
    Ok(Some(PositionCapacity {
        position,
        required: pg_row::total(row, "required")?,
        scheduled: pg_row::total(row, "scheduled")?,
        present: pg_row::total(row, "present")?,
    }))
}
