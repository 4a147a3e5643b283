//! Demo data of staff: properties, departments, people, shifts and clock entries.
//!
//! The demo data has a position once per tenant and a shift per department; the tables have a
//! position per department and a shift per position. Each pair in use becomes a row, and a
//! department's shift is that of its first position.

use std::collections::BTreeMap;

use contracts::id::{DepartmentId, PositionId};
use serde_json::{Value, json};
use stand_ins::demo::DemoData;

use super::{Batch, derived_id};

pub(super) fn batches(house: &DemoData) -> Vec<Batch> {
    let positions = Positions::of(house);
    vec![
        Batch::of("staff.properties", &house.properties, house),
        Batch::of("staff.departments", &house.departments, house),
        Batch::exactly("staff.positions", positions.rows),
        Batch::with("staff.staff", &house.staff, house, |member| {
            let position = pair(member.department_id, member.position_id);
            json!({"position_id": position, "status": "active"})
        }),
        Batch::with(
            "staff.shifts",
            &house.shifts,
            house,
            |shift| json!({"position_id": positions.first.get(&shift.department_id.to_string())}),
        ),
        Batch::with(
            "staff.shift_assignments",
            &house.assignments,
            house,
            |_| json!({"kind": "primary", "status": "assigned"}),
        ),
        Batch::with("staff.clock_entries", &house.clock_entries, house, |entry| {
            json!({
                "direction": entry.punch, "source": "pin", "punched_at": entry.at,
                "recorded_at": entry.at,
            })
        }),
    ]
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
