//! `GET /api/v1/staff/capacity`: how many are on the floor now, of how many, by department and
//! position.

use axum::response::Response;
use contracts::id::{PropertyId, TenantId};
use contracts::upstream::staff::{Capacity, DepartmentCapacity, PositionCapacity};
use jiff::Timestamp;
use service_kit::extract::PropertyQuery;
use service_kit::of_property::OfProperty;
use service_kit::postgres::{self, Database, StoreError};
use service_kit::problem::ApiResult;
use service_kit::row;
use service_kit::service::ReadProblems;
use tokio_postgres::Row;

use crate::departments::by_department;
use crate::floor::present;

#[cfg(test)]
mod tests;

/// People needed, scheduled and present, by department and position.
#[utoipa::path(
    get,
    path = "/api/v1/staff/capacity",
    operation_id = "getCapacity",
    params(PropertyQuery),
    responses(
        (status = 200, description = "By name of the department, then of the position.", body = Capacity,
            headers(("ETag" = String, description = "Changes with the numbers."))),
        ReadProblems,
    ),
    security(("requestToken" = [])),
)]
pub(crate) async fn handler(asked: OfProperty) -> ApiResult<Response> {
    let (property_id, as_of) = (asked.property, asked.now);
    let found = read(&asked.database, asked.tenant(), property_id, as_of).await?;
    let departments = asked.found((!found.is_empty()).then_some(found))?;
    let body = Capacity { property_id, as_of, departments };
    Ok(asked.answer(&body.departments, &body))
}

/// $1 property, $2 now. One row per position of the property, and one for a department without any;
/// none when the tenant has no such property, because a property has departments before it has
/// anything else here. Somebody on loan from another property brings their own position along.
pub(crate) const CAPACITY: &str = concat!(
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

/// Empty when the tenant has no such property.
async fn read(
    database: &Database,
    tenant: TenantId,
    property: PropertyId,
    now: Timestamp,
) -> Result<Vec<DepartmentCapacity>, StoreError> {
    let mut connection = database.connection().await?;
    let transaction = postgres::read(&mut connection, tenant).await?;
    let statement = transaction.prepare_cached(CAPACITY).await?;
    let rows = transaction.query(&statement, &[&property.as_str(), &now]).await?;
    by_department(&rows, department, add)
}

fn department(row: &Row) -> Result<DepartmentCapacity, StoreError> {
    Ok(DepartmentCapacity { department: row::get(row, "department")?, positions: Vec::new() })
}

fn add(department: &mut DepartmentCapacity, row: &Row) -> Result<(), StoreError> {
    department.positions.extend(from_row(row)?);
    Ok(())
}

/// `None` for the row of a department without positions.
fn from_row(row: &Row) -> Result<Option<PositionCapacity>, StoreError> {
    let Some(position) = row::get(row, "position")? else { return Ok(None) };
    Ok(Some(PositionCapacity {
        position,
        required: row::total(row, "required")?,
        scheduled: row::total(row, "scheduled")?,
        present: row::total(row, "present")?,
    }))
}
