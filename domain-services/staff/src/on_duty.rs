//! `GET /api/v1/staff/on-duty`: who is present now, by department.

use axum::response::Response;
use contracts::upstream::staff::{DepartmentOnDuty, OnDuty, Present};
use service_kit::extract::PropertyQuery;
use service_kit::pg_row;
use service_kit::postgres::StoreError;
use service_kit::problem::ApiResult;
use service_kit::property_read::PropertyRead;
use tokio_postgres::Row;

use crate::group_by_department::group_by_department;
use crate::presence_sql::present;

#[cfg(test)]
pub(crate) mod tests;

/// Who clocked in and not out, and how many should have.
#[utoipa::path(
    get,
    path = "/api/v1/staff/on-duty",
    operation_id = "getOnDuty",
    params(PropertyQuery),
    responses((status = 200, description = "By name of the department.", body = OnDuty,
        headers(("ETag" = String, description = "Changes with a punch or a shift.")))),
)]
pub(crate) async fn handler(request: PropertyRead) -> ApiResult<Response> {
    let (property_id, as_of) = (request.property, request.now);
    let rows = request.rows(ON_DUTY_SQL, &[&as_of]).await?;
    let departments = group_by_department(&rows, department, add)?;
    let body = OnDuty { property_id, as_of: as_of.into(), departments };
    Ok(request.respond(&body.departments, &body))
}

/// $1 property, $2 now. One row per person present, at least one per department of the property;
/// none when the tenant has no such property, because every property has departments. People on loan
/// from another property are listed under their own department.
pub(crate) const ON_DUTY_SQL: &str = concat!(
    "
    WITH present AS (",
    present!(),
    "
    ), scheduled AS (
        SELECT position.department_id, count(*) AS people
        FROM staff.shifts AS shift
        JOIN staff.positions AS position ON position.id = shift.position_id
        JOIN staff.shift_assignments AS assignment ON assignment.shift_id = shift.id
        WHERE shift.property_id = $1::text AND shift.status IN ('scheduled', 'in_progress')
          AND shift.starts_at > $2::timestamptz - interval '24 hours'
          AND shift.starts_at <= $2::timestamptz AND shift.ends_at > $2::timestamptz
          AND assignment.kind = 'primary' AND assignment.status = 'assigned'
        GROUP BY position.department_id
    )
    SELECT department.id AS department_id, department.name AS department,
           coalesce(scheduled.people, 0) AS scheduled,
           present.staff_id, present.display_name, present.position, present.punched_at
    FROM staff.departments AS department
    LEFT JOIN scheduled ON scheduled.department_id = department.id
    LEFT JOIN present ON present.department_id = department.id
    WHERE department.property_id = $1::text OR present.staff_id IS NOT NULL
    ORDER BY department.name, department.id, present.punched_at, present.staff_id"
);

fn department(row: &Row) -> Result<DepartmentOnDuty, StoreError> {
    let (department, scheduled) =
        (pg_row::get(row, "department")?, pg_row::total(row, "scheduled")?);
    Ok(DepartmentOnDuty { department, scheduled, present: Vec::new() })
}

fn add(department: &mut DepartmentOnDuty, row: &Row) -> Result<(), StoreError> {
    department.present.extend(from_row(row)?);
    Ok(())
}

/// `None` for the row of a department without people present.
fn from_row(row: &Row) -> Result<Option<Present>, StoreError> {
    let Some(staff_id) = pg_row::optional_id(row, "staff_id")? else { return Ok(None) };
    Ok(Some(Present {
        staff_id,
        display_name: pg_row::get(row, "display_name")?,
        position: pg_row::get(row, "position")?,
        since: pg_row::instant(row, "punched_at")?,
    }))
}
