use serde_json::{Value, json};
use service_kit::testing::fixtures::{PROPERTY, TENANT, operator};
use service_kit::testing::{Harness, TestResponse};

use crate::tests::Fixture;

async fn fetch(harness: &Harness, query: &str) -> TestResponse {
    let path = format!("/api/v1/inventory/properties/{PROPERTY}/calendar{query}");
    harness.get(&path).by(&operator(TENANT, &[PROPERTY])).send().await
}

/// The tests read the nights of the 22nd and the 23rd. Ids end in a letter.
const CALENDAR_ROWS_SQL: &str = "
    CREATE TEMPORARY TABLE ids AS SELECT 'tnt_01K0000000000000000000000A' AS tenant,
        'ppt_01K0000000000000000000000A' AS here, 'ppt_01K0000000000000000000000D' AS sister;
    CREATE FUNCTION pg_temp.id(kind text, letter text) RETURNS text LANGUAGE sql
        AS $$ SELECT kind || '_01K0000000000000000000000' || letter $$;
    INSERT INTO inventory.properties (tenant_id, id, time_zone) SELECT tenant, sister, 'UTC' FROM ids;
    INSERT INTO inventory.room_types (tenant_id, id, property_id, name)
    SELECT tenant, pg_temp.id('rty', letter), CASE letter WHEN 'S' THEN sister ELSE here END, name
    FROM ids, (VALUES ('A', 'Double'), ('S', 'Elsewhere')) AS t (letter, name);
    INSERT INTO inventory.room_type_inventory_daily
        (id, tenant_id, property_id, room_type_id, stay_date, total, held, committed)
    SELECT 'cal', tenant, here, pg_temp.id('rty', 'A'), '2026-11-22', 2, 1, 1 FROM ids;
    INSERT INTO inventory.rooms (tenant_id, id, property_id, room_type_id, number, deactivated_at)
    SELECT tenant, pg_temp.id('rom', letter), CASE letter WHEN 'S' THEN sister ELSE here END,
           pg_temp.id('rty', kind), number, gone::timestamptz
    FROM ids, (VALUES ('A', 'A', '101', NULL), ('B', 'A', '9', NULL), ('C', 'A', '102', '2026-01-01Z'),
                        ('S', 'S', '1', NULL)) AS r (letter, kind, number, gone);
    INSERT INTO inventory.room_allocations (tenant_id, id, property_id, room_type_id, room_id,
        reservation_id, check_in, check_out, status, hold_expires_at)
    SELECT tenant, pg_temp.id('inv', letter), CASE kind WHEN 'S' THEN sister ELSE here END,
           pg_temp.id('rty', kind), pg_temp.id('rom', room), pg_temp.id('rsv', reservation),
           check_in::date, check_out::date, status, expires::timestamptz
    FROM ids, (VALUES
        -- Over the whole window; from before it; the first night after it; until its first day.
        ('A', 'A', 'A', 'A', '2026-11-20', '2026-11-29', 'checked_in', NULL),
        ('B', 'A', 'B', 'B', '2026-11-21', '2026-11-23', 'confirmed', '2026-11-01Z'),
        ('C', 'A', 'B', 'C', '2026-11-24', '2026-11-25', 'confirmed', NULL),
        ('D', 'A', 'B', 'D', '2026-11-20', '2026-11-21', 'confirmed', NULL),
        -- A hold without a room and a reservation; what is no longer live; another property's.
        ('E', 'A', NULL, NULL, '2026-11-23', '2026-11-24', 'held', '2026-11-21 20:10Z'),
        ('F', 'A', 'B', 'F', '2026-11-23', '2026-11-24', 'released', NULL),
        ('G', 'A', 'B', 'G', '2026-11-23', '2026-11-24', 'checked_out', NULL),
        ('S', 'S', 'S', 'S', '2026-11-22', '2026-11-24', 'confirmed', NULL))
        AS a (letter, kind, room, reservation, check_in, check_out, status, expires);
    INSERT INTO inventory.inventory_blocks (tenant_id, id, property_id, kind, room_id, room_type_id,
        starts_on, ends_on, reason, created_by, cleared_at)
    SELECT tenant, pg_temp.id('blk', letter), here, kind, pg_temp.id('rom', room),
           pg_temp.id('rty', type), starts_on::date, ends_on::date, 'why', 'opr', cleared::timestamptz
    FROM ids, (VALUES
        ('A', 'out_of_order', 'B', 'A', '2026-11-23', '2026-12-01', NULL),
        ('B', 'stop_sell', NULL, NULL, '2026-11-01', '2026-11-23', NULL),
        ('C', 'stop_sell', NULL, 'A', '2026-11-22', '2026-11-23', '2026-11-20Z'),
        ('D', 'stop_sell', NULL, 'A', '2026-11-24', '2026-11-25', NULL))
        AS b (letter, kind, room, type, starts_on, ends_on, cleared)";

const WINDOW_QUERY: &str = "?from=2026-11-22&to=2026-11-24";

fn id(kind: &str, letter: char) -> String {
    format!("{kind}_01K0000000000000000000000{letter}")
}

#[tokio::test]
async fn it_shows_who_has_which_room() {
    let Fixture { harness, database } = Fixture::new().await;
    database.run(CALENDAR_ROWS_SQL).await;
    let mut body = fetch(&harness, WINDOW_QUERY).await.ok();
    let nights = body["roomTypes"][0]["nights"].take();
    assert_eq!((&nights[0]["held"], &nights[0]["available"]), (&json!(1), &json!(0)));
    assert_eq!(nights.as_array().map(Vec::len), Some(2));
    assert_eq!(
        body,
        json!({
            "propertyId": PROPERTY,
            "timeZone": "Asia/Kabul",
            "asOf": "2026-11-21T20:00:00.000Z",
            "from": "2026-11-22",
            "to": "2026-11-24",
            "roomTypes": [{"roomTypeId": id("rty", 'A'), "name": "Double", "nights": null}],
            "rooms": [
                {"roomId": id("rom", 'B'), "roomTypeId": id("rty", 'A'), "number": "9"},
                {"roomId": id("rom", 'A'), "roomTypeId": id("rty", 'A'), "number": "101"},
            ],
            "stays": [
                {"allocationId": id("inv", 'A'), "roomTypeId": id("rty", 'A'), "roomId": id("rom", 'A'),
                 "reservationId": id("rsv", 'A'), "checkIn": "2026-11-20", "checkOut": "2026-11-29",
                 "status": "checked_in"},
                {"allocationId": id("inv", 'B'), "roomTypeId": id("rty", 'A'), "roomId": id("rom", 'B'),
                 "reservationId": id("rsv", 'B'), "checkIn": "2026-11-21", "checkOut": "2026-11-23",
                 "status": "confirmed"},
                {"allocationId": id("inv", 'E'), "roomTypeId": id("rty", 'A'),
                 "checkIn": "2026-11-23", "checkOut": "2026-11-24", "status": "held",
                 "holdExpiresAt": "2026-11-21T20:10:00.000Z"},
            ],
            "blocks": [
                {"blockId": id("blk", 'B'), "kind": "stop_sell", "from": "2026-11-01", "to": "2026-11-23",
                 "reason": "why"},
                {"blockId": id("blk", 'A'), "kind": "out_of_order", "roomId": id("rom", 'B'),
                 "roomTypeId": id("rty", 'A'), "from": "2026-11-23", "to": "2026-12-01", "reason": "why"},
            ],
        })
    );
}

#[tokio::test]
async fn a_property_without_rooms_has_an_empty_grid() {
    let Fixture { harness, database: _database } = Fixture::new().await;
    let body = fetch(&harness, "").await.ok();
    for list in ["roomTypes", "rooms", "stays", "blocks"] {
        assert_eq!(body[list], Value::Array(Vec::new()), "{list}");
    }
    assert_eq!((&body["from"], &body["to"]), (&json!("2026-11-22"), &json!("2026-12-06")));
}

#[tokio::test]
async fn bad_dates_are_named() {
    let Fixture { harness, database: _database } = Fixture::new().await;
    for query in
        ["?from=2026-11-22&to=2026-11-22", "?from=2026-11-22&to=2027-01-22", "?to=9999-12-31"]
    {
        fetch(&harness, query).await.assert_invalid_field("query.to");
    }
}

#[tokio::test]
async fn the_tag_changes_with_a_stay() {
    let Fixture { harness, database } = Fixture::new().await;
    database.run(CALENDAR_ROWS_SQL).await;
    let before = fetch(&harness, WINDOW_QUERY).await;
    database
        .run("UPDATE inventory.room_allocations SET status = 'confirmed' WHERE status = 'held'")
        .await;
    assert_ne!(fetch(&harness, WINDOW_QUERY).await.header("etag"), before.header("etag"));
}
