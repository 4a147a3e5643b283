//! `GET /api/v1/staff/shifts`: the shifts that begin on a day, and their assignments.

use axum::response::Response;
use contracts::upstream::staff::{Assigned, Shift, Shifts};
use serde::Deserialize;
use service_kit::extract::{self, PropertyQuery, Query};
use service_kit::pg_row;
use service_kit::postgres::StoreError;
use service_kit::problem::ApiResult;
use service_kit::property_read::PropertyRead;
use tokio_postgres::Row;

#[cfg(test)]
mod tests;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Params {
    /// The day they begin on; today in the property's time zone when absent.
    #[param(value_type = Option<String>, format = Date)]
    date: Option<String>,
}

/// A day's shifts, cancelled ones too.
#[utoipa::path(
    get,
    path = "/api/v1/staff/shifts",
    operation_id = "getShifts",
    params(PropertyQuery, Params),
    responses((status = 200, description = "By department, then start.", body = Shifts,
        headers(("ETag" = String, description = "Changes with a shift or an assignment.")))),
)]
pub(crate) async fn handler(
    request: PropertyRead,
    Query(params): Query<Params>,
) -> ApiResult<Response> {
    // Without a date, the query uses today in the property's time zone.
    let date = extract::date("query.date", params.date.as_deref())?;
    let rows = request.rows(SHIFTS_SQL, &[&request.now, &date]).await?;
    let head = &rows[0];
    let body = Shifts {
        property_id: request.property,
        time_zone: pg_row::get(head, "time_zone")?,
        as_of: request.now.into(),
        date: pg_row::date(head, "date")?,
        shifts: shifts(&rows)?,
    };
    Ok(request.respond(&(&body.time_zone, body.date, &body.shifts), &body))
}

/// $1 property, $2 now, $3 date or null. No row when the tenant has no such property; one row
/// without a shift when none begins that day; else one per assignment, at least one per shift.
pub(crate) const SHIFTS_SQL: &str = "
    WITH day AS (
        SELECT id AS property_id, time_zone, date,
               staff.start_of_day(date, time_zone) AS began,
               staff.start_of_day(date + 1, time_zone) AS ended
        FROM staff.properties,
             LATERAL (SELECT coalesce($3::date, ($2::timestamptz AT TIME ZONE time_zone)::date)) AS d (date)
        WHERE id = $1::text
    )
    SELECT day.time_zone, day.date, shift.id AS shift_id, department.name AS department,
           position.name AS position, shift.starts_at, shift.ends_at, shift.status, shift.required,
           person.id AS staff_id, person.display_name, assignment.kind
    FROM day
    LEFT JOIN staff.shifts AS shift ON shift.property_id = day.property_id
        AND shift.starts_at >= day.began AND shift.starts_at < day.ended
    LEFT JOIN staff.positions AS position ON position.id = shift.position_id
    LEFT JOIN staff.departments AS department ON department.id = position.department_id
    LEFT JOIN staff.shift_assignments AS assignment
        ON assignment.shift_id = shift.id AND assignment.status = 'assigned'
    LEFT JOIN staff.staff AS person ON person.id = assignment.staff_id
    ORDER BY department.name, shift.starts_at, position.name, shift.id, assignment.kind, person.display_name,
             person.id";

/// Groups rows, which are sorted by shift.
fn shifts(rows: &[Row]) -> Result<Vec<Shift>, StoreError> {
    let mut shifts: Vec<Shift> = Vec::new();
    for row in rows {
        let Some(id) = pg_row::optional_id(row, "shift_id")? else { continue };
        if shifts.last().is_none_or(|last| last.shift_id != id) {
            shifts.push(shift(row)?);
        }
        if let Some(shift) = shifts.last_mut() {
            shift.assigned.extend(assigned(row)?);
        }
    }
    Ok(shifts)
}

fn shift(row: &Row) -> Result<Shift, StoreError> {
    Ok(Shift {
        shift_id: pg_row::id(row, "shift_id")?,
        department: pg_row::get(row, "department")?,
        position: pg_row::get(row, "position")?,
        starts_at: pg_row::instant(row, "starts_at")?,
        ends_at: pg_row::instant(row, "ends_at")?,
        status: pg_row::name(row, "status")?,
        required: pg_row::count(row, "required")?,
        assigned: Vec::new(),
    })
}

/// `None` for the row of a shift without assignments.
fn assigned(row: &Row) -> Result<Option<Assigned>, StoreError> {
    let Some(staff_id) = pg_row::optional_id(row, "staff_id")? else { return Ok(None) };
    let (display_name, kind) = (pg_row::get(row, "display_name")?, pg_row::name(row, "kind")?);
    Ok(Some(Assigned { staff_id, display_name, kind }))
}
