use serde_json::{Value, json};
use service_kit::testing::Harness;
use service_kit::testing::world::{PROPERTY, TENANT, operator};

use crate::tests::Fixture;

async fn ask(harness: &Harness) -> Value {
    let path = format!("/api/v1/housekeeping/summary?propertyId={PROPERTY}");
    harness.get(&path).by(&operator(TENANT, &[PROPERTY])).send().await.ok()
}

/// Local midnight was at 19:30 UTC of the 21st; it is 20:00. Columns: number, kind, priority,
/// status, made, next arrival, checked out, ready.
const TASKS: &str = "
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
        -- Made before midnight, ready after it: not a task of today, but a room of today.
        ('6', 'turnover', 'low', 'completed', '2026-11-21 18:00Z', NULL, '2026-11-21 18:00Z', '2026-11-21 19:30Z'),
        -- Ready before midnight.
        ('7', 'turnover', 'low', 'completed', '2026-11-21 10:00Z', NULL, '2026-11-21 10:00Z', '2026-11-21 10:10Z'),
        ('8', 'deep_clean', 'low', 'cancelled', '2026-11-21 19:30Z', NULL, NULL, NULL),
        ('9', 'deep_clean', 'low', 'failed', '2026-11-21 19:29Z', NULL, NULL, NULL)
    ) AS task (number, kind, priority, status, made, arrival, left_at, ready)";

#[tokio::test]
async fn today_begins_at_midnight_of_the_property() {
    let Fixture { harness, database } = Fixture::new().await;
    database.run(TASKS).await;
    assert_eq!(
        ask(&harness).await,
        json!({
            "propertyId": PROPERTY,
            "asOf": "2026-11-21T20:00:00.000Z",
            "tasks": {"pending": 1, "assigned": 1, "in_progress": 1, "paused": 1,
                      "completed": 1, "failed": 0, "cancelled": 1},
            "urgentOpen": 2,
            "pendingTasksAtArrivalWindow": 2,
            "timeToReadyMinutes": 72.5,
        })
    );
}

#[tokio::test]
async fn a_property_without_work_has_zeros_and_no_median() {
    let Fixture { harness, database: _database } = Fixture::new().await;
    let body = ask(&harness).await;
    assert_eq!(body["timeToReadyMinutes"], Value::Null);
    assert!(body["tasks"].as_object().unwrap().values().all(|number| number == 0));
    assert_eq!(body["tasks"].as_object().unwrap().len(), 7);
}
