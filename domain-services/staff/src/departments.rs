//! Rows that come by department, made into one entry each.

use contracts::id::DepartmentId;
use service_kit::postgres::StoreError;
use service_kit::row;
use tokio_postgres::Row;

/// `begin` makes a department's entry of its first row, `add` adds each row to it. A row without a
/// department says that the property has none.
pub(crate) fn by_department<T>(
    rows: &[Row],
    begin: fn(&Row) -> Result<T, StoreError>,
    add: fn(&mut T, &Row) -> Result<(), StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut departments: Vec<(DepartmentId, T)> = Vec::new();
    for row in rows {
        let Some(id) = row::optional_id(row, "department_id")? else { continue };
        if departments.last().is_none_or(|(last, _)| *last != id) {
            departments.push((id, begin(row)?));
        }
        if let Some((_, department)) = departments.last_mut() {
            add(department, row)?;
        }
    }
    Ok(departments.into_iter().map(|(_, department)| department).collect())
}
