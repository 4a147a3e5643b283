use serde_json::{Value, json};
use service_kit::testing::Harness;
use service_kit::testing::fixtures::{PROPERTY, TENANT, operator};

use crate::tests::Fixture;

async fn fetch(harness: &Harness) -> Value {
    let path = format!("/api/v1/housekeeping/summary?propertyId={PROPERTY}");
    harness.get(&path).by(&operator(TENANT, &[PROPERTY])).send().await.ok()
}

/// Local midnight was at 19:30 UTC of the 21st; it is 20:00. Columns: number, kind, priority,
/// status, made, next arrival, checked out, ready.
const TASKS_SQL: &str = "
    INSERT INTO housekeeping.housekeeping_tasks
        (id, tenant_id, property_id, room_id, kind, priority, status, assigned_staff_id, created_at,
         next_arrival_at, checked_out_at, room_ready_at)
    SELECT 'hkt_01K0000000000000000000000' || number, 'tnt_01K0000000000000000000000A',
           'ppt_01K0000000000000000000000A', 'rom_01K0000000000000000000000A', kind, priority, status,
           'stf_01K0000000000000000000000A', made::timestamptz, arrival::timestamptz,
           left_at::timestamptz, ready::timestamptz
    FROM (VALUES
        -- Open, from before midnight; the guest is expected in 90 minutes.
        ('1', 'turnover', 'urgent', 'pending', '2026-11-20 10:00Z', '2026-11-21 21:30Z', NULL, NULL),
        -- The guest should be here already.
        ('2', 'turnover', 'high', 'in_progress', '2026-11-21 19:45Z', '2026-11-21 19:50Z', NULL, NULL),
        -- The guest comes a minute after the window.
        ('3', 'turnover', 'normal', 'paused', '2026-11-21 19:45Z', '2026-11-21 21:31Z', NULL, NULL),
        -- Within the window, but not a turnover.
        ('4', 'inspection', 'urgent', 'assigned', '2026-11-21 19:45Z', '2026-11-21 20:10Z', NULL, NULL),
        -- Closed and urgent: in the counts of today only.
        ('5', 'turnover', 'urgent', 'completed', '2026-11-21 19:35Z', '2026-11-21 20:10Z',
         '2026-11-21 19:00Z', '2026-11-21 19:55Z'),
        -- Made before midnight, ready after it: work of today, and a room of today.
        ('6', 'turnover', 'low', 'completed', '2026-11-21 18:00Z', NULL, '2026-11-21 18:00Z', '2026-11-21 19:30Z'),
        -- Ready before midnight.
        ('7', 'turnover', 'low', 'completed', '2026-11-21 10:00Z', NULL, '2026-11-21 10:00Z', '2026-11-21 10:10Z'),
        ('8', 'deep_clean', 'low', 'cancelled', '2026-11-21 19:30Z', NULL, NULL, NULL),
        ('9', 'deep_clean', 'low', 'failed', '2026-11-21 19:29Z', NULL, NULL, NULL)
    ) AS task (number, kind, priority, status, made, arrival, left_at, ready)";

#[tokio::test]
async fn today_begins_at_midnight_of_the_property() {
    let Fixture { harness, database } = Fixture::new().await;
    database.run(TASKS_SQL).await;
    assert_eq!(
        fetch(&harness).await,
        json!({
            "propertyId": PROPERTY,
            "asOf": "2026-11-21T20:00:00.000Z",
            "tasks": {"pending": 1, "assigned": 1, "in_progress": 1, "paused": 1,
                      "completed": 2, "failed": 0, "cancelled": 1},
            "urgentOpen": 2,
            "pendingTasksAtArrivalWindow": 2,
            "timeToReadyMinutes": 72.5,
        })
    );
}

#[tokio::test]
async fn a_property_without_work_has_zeros_and_no_median() {
    let Fixture { harness, database: _database } = Fixture::new().await;
    let body = fetch(&harness).await;
    assert_eq!(body["timeToReadyMinutes"], Value::Null);
    assert!(body["tasks"].as_object().unwrap().values().all(|number| number == 0));
    assert_eq!(body["tasks"].as_object().unwrap().len(), 7);
}

fn closed(number: u8, status: &str, created: &str, ended: &str) -> String {
    format!(
        "INSERT INTO housekeeping.housekeeping_tasks
             (id, tenant_id, property_id, room_id, kind, priority, status, created_at, ended_at)
         VALUES ('hkt_01K0000000000000000000000{number}', '{TENANT}', '{PROPERTY}',
                 'rom_01K0000000000000000000000A', 'turnover', 'high', '{status}', '{created}', '{ended}')"
    )
}

/// Closed tasks that count at this time, by status.
async fn counted(fixture: &Fixture, now: &str) -> [u64; 3] {
    let tasks = fetch(&fixture.at(now).await).await["tasks"].take();
    ["completed", "failed", "cancelled"].map(|status| tasks[status].as_u64().unwrap())
}

#[tokio::test]
async fn a_task_counts_on_the_day_it_was_finished_whenever_it_was_made() {
    let fixture = Fixture::new().await;
    // In Kabul: made at 23:20 on the 21st, finished at 08:30 on the 22nd; made a month before,
    // finished a minute after midnight; made and finished on the 22nd.
    for task in [
        closed(1, "completed", "2026-11-21 18:50Z", "2026-11-22 04:00Z"),
        closed(2, "failed", "2026-10-20 10:00Z", "2026-11-21 19:31Z"),
        closed(3, "cancelled", "2026-11-21 19:40Z", "2026-11-22 19:29:59.999Z"),
    ] {
        fixture.database.run(&task).await;
    }
    assert_eq!(counted(&fixture, "2026-11-21T19:20:00Z").await, [0, 0, 0], "23:50 on the 21st");
    assert_eq!(counted(&fixture, "2026-11-22T04:30:00Z").await, [1, 1, 1], "09:00 on the 22nd");
    assert_eq!(counted(&fixture, "2026-11-22T19:29:59Z").await, [1, 1, 1], "23:59:59 on the 22nd");
    assert_eq!(counted(&fixture, "2026-11-22T19:30:00Z").await, [0, 0, 0], "midnight to the 23rd");
}

#[tokio::test]
async fn a_day_on_which_the_clocks_change_begins_with_its_first_instant() {
    // Zone, the day's first instant, and times within the day.
    for (zone, first, within) in [
        // Midnight comes twice: the clocks go back from 01:00 to 00:00.
        (
            "America/Havana",
            "2026-11-01T04:00:00Z",
            ["2026-11-01T04:30:00Z", "2026-11-02T04:59:00Z"],
        ),
        // There is no midnight: the clocks go from 00:00 to 01:00.
        ("Asia/Beirut", "2026-03-28T22:00:00Z", ["2026-03-28T22:10:00Z", "2026-03-29T20:59:00Z"]),
        ("Africa/Cairo", "2026-04-23T22:00:00Z", ["2026-04-23T22:01:00Z", "2026-04-24T20:59:00Z"]),
        // The day before midnight has 25 hours.
        (
            "America/Santiago",
            "2026-04-05T04:00:00Z",
            ["2026-04-05T04:01:00Z", "2026-04-06T03:59:00Z"],
        ),
        // 23 and 25 hours, and half an hour.
        ("Europe/London", "2026-03-29T00:00:00Z", ["2026-03-29T00:10:00Z", "2026-03-29T22:59:00Z"]),
        ("Europe/London", "2026-10-24T23:00:00Z", ["2026-10-25T01:30:00Z", "2026-10-25T23:59:00Z"]),
        (
            "Australia/Lord_Howe",
            "2026-04-04T13:00:00Z",
            ["2026-04-04T15:30:00Z", "2026-04-05T13:29:00Z"],
        ),
    ] {
        let fixture = Fixture::new().await;
        let zone_is = format!("UPDATE housekeeping.properties SET time_zone = '{zone}'");
        let just_before = format!("{first}'::timestamptz - interval '1 second");
        fixture.database.run(&zone_is).await;
        fixture.database.run(&closed(1, "completed", "2026-01-01Z", first)).await;
        fixture.database.run(&closed(2, "failed", "2026-01-01Z", &just_before)).await;
        for now in within {
            assert_eq!(counted(&fixture, now).await, [1, 0, 0], "{zone} at {now}");
        }
    }
}
