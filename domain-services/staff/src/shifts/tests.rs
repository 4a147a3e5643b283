use serde_json::{Value, json};
use service_kit::testing::fixtures::{PROPERTY, TENANT, operator};
use service_kit::testing::{Harness, TestResponse};

use crate::on_duty::tests::PEOPLE_SQL;
use crate::tests::Fixture;

async fn fetch(harness: &Harness, query: &str) -> TestResponse {
    let path = format!("/api/v1/staff/shifts?propertyId={PROPERTY}{query}");
    harness.get(&path).by(&operator(TENANT, &[PROPERTY])).send().await
}

fn shift(letter: char, team: [&str; 2], times: [&str; 2], status: &str, assigned: Value) -> Value {
    let ([department, position], [starts_at, ends_at]) = (team, times);
    json!({"shiftId": format!("shf_01K0000000000000000000000{letter}"), "department": department,
           "position": position, "startsAt": starts_at, "endsAt": ends_at, "status": status,
           "required": 1, "assigned": assigned})
}

fn assigned(letter: char, name: &str, kind: &str) -> Value {
    json!({"staffId": format!("stf_01K0000000000000000000000{letter}"), "displayName": name, "kind": kind})
}

const FRONT_DESK: [&str; 2] = ["Front desk", "Receptionist"];

#[tokio::test]
async fn a_shift_belongs_to_the_day_it_begins_on_at_the_property() {
    let Fixture { harness, database } = Fixture::new().await;
    database.run(PEOPLE_SQL).await;
    let night = ["2026-11-21T20:00:00.000Z", "2026-11-22T04:00:00.000Z"];
    assert_eq!(
        fetch(&harness, "").await.ok(),
        json!({
            "propertyId": PROPERTY,
            "timeZone": "Asia/Kabul",
            "asOf": "2026-11-21T20:00:00.000Z",
            "date": "2026-11-22",
            "shifts": [shift('C', FRONT_DESK, night, "scheduled", json!([assigned('C', "Cem", "primary")]))],
        })
    );
    let late = ["2026-11-21T14:00:00.000Z", "2026-11-21T22:00:00.000Z"];
    let long = ["2026-11-21T06:00:00.000Z", "2026-11-21T20:00:00.000Z"];
    assert_eq!(
        fetch(&harness, "&date=2026-11-21").await.ok()["shifts"],
        json!([
            shift(
                'D',
                ["Bell", "Porter"],
                late,
                "cancelled",
                json!([assigned('D', "Dia", "primary")])
            ),
            shift('B', FRONT_DESK, long, "in_progress", json!([assigned('B', "Ben", "primary")])),
            shift(
                'A',
                FRONT_DESK,
                late,
                "in_progress",
                json!([assigned('A', "Ann", "primary"), assigned('B', "Ben", "standby")])
            ),
        ])
    );
}

#[tokio::test]
async fn unassigned_people_are_not_listed() {
    let Fixture { harness, database } = Fixture::new().await;
    database.run(PEOPLE_SQL).await;
    database.run("UPDATE staff.shift_assignments SET status = 'unassigned'").await;
    let shifts = fetch(&harness, "&date=2026-11-21").await.ok()["shifts"].take();
    assert!(shifts.as_array().unwrap().iter().all(|shift| shift["assigned"] == json!([])));
    assert_eq!(shifts.as_array().map(Vec::len), Some(3));
}

#[tokio::test]
async fn the_date_is_a_date() {
    let Fixture { harness, database: _database } = Fixture::new().await;
    for date in [
        "",
        "21.11.2026",
        "2026-11-31",
        "-009999-01-01",
        "0000-01-01",
        "20261121",
        "2026-11-21T10:00",
    ] {
        fetch(&harness, &format!("&date={date}")).await.assert_invalid_field("query.date");
    }
    for date in ["0001-01-01", "9999-12-31"] {
        assert_eq!(fetch(&harness, &format!("&date={date}")).await.ok()["shifts"], json!([]));
    }
}

#[tokio::test]
async fn where_midnight_comes_twice_the_day_begins_with_the_first() {
    let Fixture { harness, database } = Fixture::new().await;
    database.run(PEOPLE_SQL).await;
    // In Havana the clocks went back from 01:00 to 00:00 on 1 November: it begins at 04:00 UTC.
    database
        .run(
            "UPDATE staff.properties SET time_zone = 'America/Havana';
             UPDATE staff.shifts SET starts_at = '2026-11-01 04:30Z', ends_at = '2026-11-01 12:00Z'
             WHERE id = 'shf_01K0000000000000000000000C'",
        )
        .await;
    let on =
        async |date: &str| fetch(&harness, &format!("&date={date}")).await.ok()["shifts"].take();
    assert_eq!(on("2026-10-31").await, json!([]));
    assert_eq!(on("2026-11-01").await[0]["startsAt"], "2026-11-01T04:30:00.000Z");
}
