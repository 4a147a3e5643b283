use serde_json::{Value, json};
use service_kit::testing::Harness;
use service_kit::testing::fixtures::{PROPERTY, TENANT, operator};

use crate::tests::Fixture;

async fn fetch(harness: &Harness) -> Value {
    let path = format!("/api/v1/housekeeping/rooms/status?propertyId={PROPERTY}");
    harness.get(&path).by(&operator(TENANT, &[PROPERTY])).send().await.ok()
}

/// Room 10 has no status; 102 is archived.
const ROOMS_SQL: &str = "
    INSERT INTO housekeeping.rooms (tenant_id, id, property_id, number, floor, archived_at, created_at) VALUES
        ('tnt_01K0000000000000000000000A', 'rom_01K0000000000000000000000A', 'ppt_01K0000000000000000000000A', '101', 1, NULL, '2026-01-01Z'),
        ('tnt_01K0000000000000000000000A', 'rom_01K0000000000000000000000B', 'ppt_01K0000000000000000000000A', '10', 0, NULL, '2026-01-01Z'),
        ('tnt_01K0000000000000000000000A', 'rom_01K0000000000000000000000C', 'ppt_01K0000000000000000000000A', '9', 0, NULL, '2026-01-01Z'),
        ('tnt_01K0000000000000000000000A', 'rom_01K0000000000000000000000D', 'ppt_01K0000000000000000000000A', '102', 1, '2026-02-01Z', '2026-01-01Z');
    INSERT INTO housekeeping.room_status (tenant_id, room_id, property_id, status, since) VALUES
        ('tnt_01K0000000000000000000000A', 'rom_01K0000000000000000000000A', 'ppt_01K0000000000000000000000A', 'out_of_order', '2026-11-20 08:00Z'),
        ('tnt_01K0000000000000000000000A', 'rom_01K0000000000000000000000C', 'ppt_01K0000000000000000000000A', 'ready', '2026-11-21 08:00Z')";

fn room(id: char, number: &str, floor: i32, status: &str, since: &str) -> Value {
    json!({"roomId": format!("rom_01K0000000000000000000000{id}"), "number": number, "floor": floor,
           "status": status, "since": since})
}

#[tokio::test]
async fn rooms_come_by_floor_then_number() {
    let Fixture { harness, database } = Fixture::new().await;
    database.run(ROOMS_SQL).await;
    assert_eq!(
        fetch(&harness).await,
        json!({
            "propertyId": PROPERTY,
            "asOf": "2026-11-21T20:00:00.000Z",
            "counts": {"dirty": 1, "cleaning": 0, "clean": 0, "inspected": 0, "ready": 1,
                       "out_of_order": 1, "out_of_service": 0},
            "rooms": [
                room('C', "9", 0, "ready", "2026-11-21T08:00:00.000Z"),
                room('B', "10", 0, "dirty", "2026-01-01T00:00:00.000Z"),
                room('A', "101", 1, "out_of_order", "2026-11-20T08:00:00.000Z"),
            ],
        })
    );
}

#[tokio::test]
async fn a_property_without_rooms_has_none() {
    let Fixture { harness, database: _database } = Fixture::new().await;
    assert_eq!(fetch(&harness).await["rooms"], json!([]));
}
