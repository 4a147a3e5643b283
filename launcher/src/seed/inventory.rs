//! Demo data of inventory: rooms by type, nightly availability, and room allocations.

use contracts::id::CalendarId;
use serde_json::json;
use stand_ins::demo::DemoData;

use super::{Batch, derived_id, properties};

pub(super) fn batches(house: &DemoData) -> Vec<Batch> {
    vec![
        properties("inventory.properties", house),
        Batch::new("inventory.room_types", &house.room_types, |kind| {
            json!({
                "tenant_id": kind.tenant_id, "id": kind.id, "property_id": kind.property_id,
                "name": kind.name, "created_at": house.now,
            })
        }),
        Batch::new("inventory.rooms", &house.rooms, |room| {
            json!({
                "tenant_id": room.tenant_id, "id": room.id, "property_id": room.property_id,
                "room_type_id": room.room_type_id, "number": room.number, "created_at": house.now,
            })
        }),
        nights(house),
        allocations(house),
        blocks(house),
    ]
}

fn nights(house: &DemoData) -> Batch {
    Batch::new("inventory.room_type_inventory_daily", &house.nights, |night| {
        let id: CalendarId = derived_id(&format!("{}/{}", night.room_type_id, night.date));
        json!({
            "id": id,
            "tenant_id": night.tenant_id, "property_id": night.property_id,
            "room_type_id": night.room_type_id, "stay_date": night.date,
            "total": night.total, "held": night.held, "committed": night.committed,
            "oos_blocked": night.oos_blocked,
        })
    })
}

fn allocations(house: &DemoData) -> Batch {
    Batch::new("inventory.room_allocations", &house.allocations, |allocation| {
        json!({
            "tenant_id": allocation.tenant_id, "id": allocation.id,
            "property_id": allocation.property_id, "room_type_id": allocation.room_type_id,
            "room_id": allocation.room_id, "reservation_id": allocation.reservation_id,
            "reservation_item_id": allocation.reservation_item_id,
            "check_in": allocation.check_in, "check_out": allocation.check_out,
            "status": allocation.state, "hold_expires_at": allocation.expires_at,
            "created_at": allocation.created_at,
        })
    })
}

fn blocks(house: &DemoData) -> Batch {
    Batch::new("inventory.inventory_blocks", &house.blocks, |block| {
        json!({
            "tenant_id": block.tenant_id, "id": block.id, "property_id": block.property_id,
            "kind": "out_of_order", "room_id": block.room_id,
            "room_type_id": block.room_type_id, "starts_on": block.from, "ends_on": block.to,
            "reason": block.reason, "created_by": "demo",
        })
    })
}
