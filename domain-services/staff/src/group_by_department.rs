//! Groups rows by department.

use contracts::id::DepartmentId;
use service_kit::pg_row;
use service_kit::postgres::StoreError;
use tokio_postgres::Row;

/// Groups rows that are sorted by department: `begin` makes the entry from the first row, `add` adds
/// each row. Rows without a department are skipped.
pub(crate) fn group_by_department<T>(
    rows: &[Row],
    begin: fn(&Row) -> Result<T, StoreError>,
    add: fn(&mut T, &Row) -> Result<(), StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut departments: Vec<(DepartmentId, T)> = Vec::new();
    for row in rows {
        let Some(id) = pg_row::optional_id(row, "department_id")? else { continue };
        if departments.last().is_none_or(|(last, _)| *last != id) {
            departments.push((id, begin(row)?));
        }
        if let Some((_, department)) = departments.last_mut() {
            add(department, row)?;
        }
    }
    Ok(departments.into_iter().map(|(_, department)| department).collect())
}
