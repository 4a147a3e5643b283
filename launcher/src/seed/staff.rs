//! Demo data of staff: properties, departments, people, shifts and clock entries.
//!
//! The demo data has a position once per tenant and a shift per department; the tables have a
//! position per department and a shift per position. Each pair in use becomes a row, and a
//! department's shift is that of its first position.

use std::collections::BTreeMap;

use contracts::id::{DepartmentId, PositionId};
use serde_json::{Value, json};
use stand_ins::demo::DemoData;

use super::{Batch, derived_id, properties};

pub(super) fn batches(house: &DemoData) -> Vec<Batch> {
    let positions = Positions::of(house);
    vec![
        properties("staff.properties", house),
        Batch::new("staff.departments", &house.departments, |department| {
            json!({
                "tenant_id": department.tenant_id, "id": department.id,
                "property_id": department.property_id, "name": department.name,
                "created_at": house.now,
            })
        }),
        Batch { table: "staff.positions", rows: positions.rows },
        Batch::new("staff.staff", &house.staff, |member| {
            json!({
                "tenant_id": member.tenant_id, "id": member.id,
                "position_id": pair(member.department_id, member.position_id),
                "display_name": member.display_name, "status": "active", "version": 0,
                "created_at": house.now,
            })
        }),
        Batch::new("staff.shifts", &house.shifts, |shift| {
            json!({
                "tenant_id": shift.tenant_id, "id": shift.id, "property_id": shift.property_id,
                "position_id": positions.first.get(&shift.department_id.to_string()),
                "starts_at": shift.starts_at, "ends_at": shift.ends_at, "required": shift.required,
                "status": shift.status, "version": 0, "created_at": house.now,
            })
        }),
        assignments(house),
        clock_entries(house),
    ]
}

fn assignments(house: &DemoData) -> Batch {
    Batch::new("staff.shift_assignments", &house.assignments, |assignment| {
        json!({
            "tenant_id": assignment.tenant_id, "id": assignment.id,
            "shift_id": assignment.shift_id, "staff_id": assignment.staff_id,
            "kind": "primary", "status": "assigned", "starts_at": assignment.starts_at,
            "ends_at": assignment.ends_at, "version": 0, "created_at": house.now,
        })
    })
}

fn clock_entries(house: &DemoData) -> Batch {
    Batch::new("staff.clock_entries", &house.clock_entries, |entry| {
        json!({
            "tenant_id": entry.tenant_id, "id": entry.id, "staff_id": entry.staff_id,
            "property_id": entry.property_id, "direction": entry.punch, "source": "pin",
            "device_id": entry.device_id, "punched_at": entry.at, "recorded_at": entry.at,
        })
    })
}

/// The pairs of department and position that are in use.
struct Positions {
    rows: Vec<Value>,
    /// By department.
    first: BTreeMap<String, PositionId>,
}

impl Positions {
    fn of(house: &DemoData) -> Self {
        let mut rows = BTreeMap::new();
        let mut first = BTreeMap::new();
        for member in &house.staff {
            let id = pair(member.department_id, member.position_id);
            let position = house.positions.iter().find(|one| one.id == member.position_id);
            let row = json!({
                "tenant_id": member.tenant_id, "id": id, "department_id": member.department_id,
                "name": position.map(|position| position.name), "created_at": house.now,
            });
            rows.insert(id.to_string(), row);
            first.entry(member.department_id.to_string()).or_insert(id);
        }
        Self { rows: rows.into_values().collect(), first }
    }
}

/// Derives the stable id of a position in one department.
fn pair(department: DepartmentId, position: PositionId) -> PositionId {
    derived_id(&format!("{department}/{position}"))
}
