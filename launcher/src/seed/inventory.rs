//! Demo data of inventory: rooms by type, nightly availability, and room allocations.

use contracts::id::CalendarId;
use serde_json::json;
use stand_ins::demo::DemoData;

use super::{Batch, derived_id};

pub(super) fn batches(house: &DemoData) -> Vec<Batch> {
    vec![
        Batch::of("inventory.properties", &house.properties, house),
        Batch::of("inventory.room_types", &house.room_types, house),
        Batch::of("inventory.rooms", &house.rooms, house),
        Batch::with("inventory.room_type_inventory_daily", &house.nights, house, |night| {
            let id: CalendarId = derived_id(&format!("{}/{}", night.room_type_id, night.date));
            json!({"id": id, "stay_date": night.date})
        }),
        Batch::with(
            "inventory.room_allocations",
            &house.allocations,
            house,
            |allocation| json!({"status": allocation.state, "hold_expires_at": allocation.expires_at}),
        ),
        Batch::with("inventory.inventory_blocks", &house.blocks, house, |block| {
            json!({
                "kind": "out_of_order", "starts_on": block.from, "ends_on": block.to,
                "created_by": "demo",
            })
        }),
    ]
}
