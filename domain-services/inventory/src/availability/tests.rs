use serde_json::{Value, json};
use service_kit::testing::fixtures::{PROPERTY, TENANT, operator};
use service_kit::testing::{Harness, TestResponse};

use crate::tests::Fixture;

/// Two types, the second without a calendar; the night of the 23rd is under stop-sell, and on the
/// 24th one room more than there is has been sold within the cap.
const CALENDAR_SQL: &str = "
    INSERT INTO inventory.room_types (tenant_id, id, property_id, name) VALUES
        ('tnt_01K0000000000000000000000A', 'rty_01K0000000000000000000000A', 'ppt_01K0000000000000000000000A', 'Double'),
        ('tnt_01K0000000000000000000000A', 'rty_01K0000000000000000000000B', 'ppt_01K0000000000000000000000A', 'Twin');
    INSERT INTO inventory.room_type_inventory_daily
        (id, tenant_id, property_id, room_type_id, stay_date, total, held, committed, oos_blocked, overbooking_cap, stop_sell)
    VALUES
        ('rti_01K0000000000000000000000A', 'tnt_01K0000000000000000000000A', 'ppt_01K0000000000000000000000A',
         'rty_01K0000000000000000000000A', '2026-11-22', 10, 1, 4, 2, 1, false),
        ('rti_01K0000000000000000000000B', 'tnt_01K0000000000000000000000A', 'ppt_01K0000000000000000000000A',
         'rty_01K0000000000000000000000A', '2026-11-23', 10, 0, 0, 0, 0, true),
        ('rti_01K0000000000000000000000C', 'tnt_01K0000000000000000000000A', 'ppt_01K0000000000000000000000A',
         'rty_01K0000000000000000000000A', '2026-11-24', 3, 0, 4, 0, 1, false)";

async fn fetch(harness: &Harness, query: &str) -> TestResponse {
    let path = format!("/api/v1/inventory/properties/{PROPERTY}/availability{query}");
    harness.get(&path).by(&operator(TENANT, &[PROPERTY])).send().await
}

fn night(date: &str, numbers: [u32; 5], stop_sell: bool) -> Value {
    let [total, held, committed, oos_blocked, available] = numbers;
    json!({"date": date, "total": total, "held": held, "committed": committed,
           "oosBlocked": oos_blocked, "available": available, "stopSell": stop_sell})
}

#[tokio::test]
async fn every_type_has_every_night() {
    let Fixture { harness, database } = Fixture::new().await;
    database.run(CALENDAR_SQL).await;
    let body = fetch(&harness, "?from=2026-11-22&to=2026-11-25").await.ok();
    assert_eq!(
        body,
        json!({
            "propertyId": PROPERTY,
            "timeZone": "Asia/Kabul",
            "asOf": "2026-11-21T20:00:00.000Z",
            "from": "2026-11-22",
            "to": "2026-11-25",
            "roomTypes": [
                {"roomTypeId": "rty_01K0000000000000000000000A", "name": "Double", "nights": [
                    night("2026-11-22", [10, 1, 4, 2, 4], false),
                    night("2026-11-23", [10, 0, 0, 0, 0], true),
                    night("2026-11-24", [3, 0, 4, 0, 0], false),
                ]},
                {"roomTypeId": "rty_01K0000000000000000000000B", "name": "Twin", "nights": [
                    night("2026-11-22", [0; 5], false),
                    night("2026-11-23", [0; 5], false),
                    night("2026-11-24", [0; 5], false),
                ]},
            ],
        })
    );
}

#[tokio::test]
async fn without_dates_it_is_a_fortnight_from_today_at_the_property() {
    let Fixture { harness, database } = Fixture::new().await;
    database.run(CALENDAR_SQL).await;
    let range = async |query| {
        let body = fetch(&harness, query).await.ok();
        let nights = body["roomTypes"][0]["nights"].as_array().unwrap().len();
        (body["from"].as_str().unwrap().to_owned(), body["to"].as_str().unwrap().to_owned(), nights)
    };
    assert_eq!(range("").await, ("2026-11-22".to_owned(), "2026-12-06".to_owned(), 14));
    assert_eq!(range("?from=2027-01-01").await.1, "2027-01-15");
    assert_eq!(range("?to=2026-11-24").await.2, 2);
}

#[tokio::test]
async fn a_property_without_room_types_has_none() {
    let Fixture { harness, database: _database } = Fixture::new().await;
    assert_eq!(fetch(&harness, "").await.ok()["roomTypes"], json!([]));
}

#[tokio::test]
async fn bad_dates_are_named() {
    let Fixture { harness, database } = Fixture::new().await;
    database.run(CALENDAR_SQL).await;
    for (query, field) in [
        ("?from=22.11.2026", "query.from"),
        ("?from=2026-11-31", "query.from"),
        ("?from=9999-12-31", "query.from"),
        ("?to=", "query.to"),
        ("?from=2026-11-22&to=2026-11-22", "query.to"),
        ("?from=2026-11-22&to=2026-11-21", "query.to"),
        ("?from=2026-11-22&to=2027-01-22", "query.to"),
        ("?to=2026-11-22", "query.to"),
        ("?to=2027-01-22", "query.to"),
        ("?to=9999-12-31", "query.to"),
    ] {
        fetch(&harness, query).await.assert_invalid_field(field);
    }
    fetch(&harness, "?from=2026-11-22&to=2027-01-21").await.ok();
}

#[tokio::test]
async fn the_tag_changes_with_the_numbers() {
    let Fixture { harness, database } = Fixture::new().await;
    database.run(CALENDAR_SQL).await;
    let before = fetch(&harness, "").await;
    database.run("UPDATE inventory.room_type_inventory_daily SET held = held + 1 WHERE stay_date = '2026-11-22'").await;
    assert_ne!(fetch(&harness, "").await.header("etag"), before.header("etag"));
}
