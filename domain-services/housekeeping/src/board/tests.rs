use migrations::testing::TestDatabase;
use serde_json::{Value, json};
use service_kit::testing::Harness;
use service_kit::testing::fixtures::{PROPERTY, TENANT, operator};
use tokio_postgres::NoTls;

use super::BOARD_SQL;
use crate::tests::Fixture;

async fn fetch(harness: &Harness) -> Value {
    let path = format!("/api/v1/housekeeping/board?propertyId={PROPERTY}");
    harness.get(&path).by(&operator(TENANT, &[PROPERTY])).send().await.ok()
}

/// Local midnight was at 19:30 UTC of the 21st; it is 20:00. Room C is archived, S another
/// property's.
const ROOMS_AND_TASKS_SQL: &str = "
    CREATE TEMPORARY TABLE ids AS SELECT 'tnt_01K0000000000000000000000A' AS tenant,
        'ppt_01K0000000000000000000000A' AS here, 'ppt_01K0000000000000000000000D' AS sister;
    CREATE FUNCTION pg_temp.id(kind text, letter text) RETURNS text LANGUAGE sql
        AS $$ SELECT kind || '_01K0000000000000000000000' || letter $$;
    INSERT INTO housekeeping.properties (tenant_id, id, time_zone) SELECT tenant, sister, 'UTC' FROM ids;
    INSERT INTO housekeeping.rooms (tenant_id, id, property_id, number, floor, archived_at, created_at)
    SELECT tenant, pg_temp.id('rom', letter), CASE letter WHEN 'S' THEN sister ELSE here END, number, 1,
           archived::timestamptz, '2026-01-01Z'
    FROM ids, (VALUES ('A', '101', NULL), ('B', '99', NULL), ('C', '102', '2026-02-01Z'), ('D', '103', NULL),
                        ('S', '1', NULL)) AS r (letter, number, archived);
    INSERT INTO housekeeping.room_status (tenant_id, room_id, property_id, status, since)
    SELECT tenant, pg_temp.id('rom', letter), here, status, '2026-11-21 12:00Z'
    FROM ids, (VALUES ('A', 'dirty'), ('B', 'ready')) AS s (letter, status);
    INSERT INTO housekeeping.housekeeping_tasks
        (id, tenant_id, property_id, room_id, kind, priority, status, assigned_staff_id, scheduled_for,
         created_at, next_arrival_at, checked_out_at, room_ready_at)
    SELECT pg_temp.id('hkt', letter), tenant, CASE room WHEN 'S' THEN sister ELSE here END,
           pg_temp.id('rom', room), kind, priority, status, pg_temp.id('stf', staff),
           planned::timestamptz, made::timestamptz, arrival::timestamptz, gone::timestamptz, ready::timestamptz
    FROM ids, (VALUES
        -- Two open in one room: the younger is urgent, and its guest should be here already.
        ('1', 'A', 'deep_clean', 'low', 'assigned', 'A', '2026-11-21 21:00Z', '2026-11-01 10:00Z', NULL, NULL, NULL),
        ('2', 'A', 'turnover', 'urgent', 'pending', NULL, NULL, '2026-11-21 19:40Z', '2026-11-21 19:50Z', NULL, NULL),
        -- Done today for a guest to come; done today for one who came; done before midnight.
        ('3', 'B', 'turnover', 'high', 'completed', 'A', NULL, '2026-11-21 19:31Z', '2026-11-21 22:00Z',
         '2026-11-21 19:00Z', '2026-11-21 19:50Z'),
        ('4', 'D', 'turnover', 'high', 'completed', 'A', NULL, '2026-11-21 19:31Z', '2026-11-21 19:59Z', NULL, NULL),
        ('5', 'D', 'turnover', 'high', 'completed', 'A', NULL, '2026-11-21 19:29Z', '2026-11-21 23:00Z', NULL, NULL),
        ('6', 'S', 'turnover', 'urgent', 'pending', NULL, NULL, '2026-11-21 19:40Z', NULL, NULL, NULL))
        AS t (letter, room, kind, priority, status, staff, planned, made, arrival, gone, ready)";

fn id(kind: &str, letter: char) -> String {
    format!("{kind}_01K0000000000000000000000{letter}")
}

#[tokio::test]
async fn every_room_is_in_its_column_with_its_most_pressing_task() {
    let Fixture { harness, database } = Fixture::new().await;
    database.run(ROOMS_AND_TASKS_SQL).await;
    let column = |status: &str, rooms: Value| json!({"status": status, "rooms": rooms});
    assert_eq!(
        fetch(&harness).await,
        json!({
            "propertyId": PROPERTY,
            "asOf": "2026-11-21T20:00:00.000Z",
            "pendingTasksAtArrivalWindow": 1,
            "timeToReadyMinutes": 50.0,
            "linenRunwayMinutes": null,
            "columns": [
                column("dirty", json!([
                    {"roomId": id("rom", 'A'), "number": "101", "floor": 1, "since": "2026-11-21T12:00:00.000Z",
                     "nextArrivalAt": "2026-11-21T19:50:00.000Z", "openTasks": 2,
                     "task": {"taskId": id("hkt", '2'), "kind": "turnover", "priority": "urgent",
                              "status": "pending"}},
                    {"roomId": id("rom", 'D'), "number": "103", "floor": 1, "since": "2026-01-01T00:00:00.000Z",
                     "openTasks": 0},
                ])),
                column("cleaning", json!([])),
                column("clean", json!([])),
                column("inspected", json!([])),
                column("ready", json!([
                    {"roomId": id("rom", 'B'), "number": "99", "floor": 1, "since": "2026-11-21T12:00:00.000Z",
                     "nextArrivalAt": "2026-11-21T22:00:00.000Z", "openTasks": 0},
                ])),
                column("out_of_order", json!([])),
                column("out_of_service", json!([])),
            ],
        })
    );
}

#[tokio::test]
async fn of_equal_tasks_the_oldest_is_the_most_pressing() {
    let Fixture { harness, database } = Fixture::new().await;
    database.run(ROOMS_AND_TASKS_SQL).await;
    database.run("UPDATE housekeeping.housekeeping_tasks SET priority = 'normal'").await;
    let task = fetch(&harness).await["columns"][0]["rooms"][0]["task"].take();
    assert_eq!(
        task,
        json!({"taskId": id("hkt", '1'), "kind": "deep_clean", "priority": "normal", "status": "assigned",
               "assignedTo": id("stf", 'A'), "scheduledFor": "2026-11-21T21:00:00.000Z"})
    );
}

#[tokio::test]
async fn a_property_without_rooms_has_empty_columns() {
    let Fixture { harness, database: _database } = Fixture::new().await;
    let columns = fetch(&harness).await["columns"].take();
    assert_eq!(columns.as_array().map(Vec::len), Some(7));
    assert!(columns.as_array().unwrap().iter().all(|column| column["rooms"] == json!([])));
}

/// 500 rooms and 10,000 tasks of half a month, a tenth of them open, among those of ten other hotels.
const LARGE_BOARD_SQL: &str = "
    INSERT INTO housekeeping.rooms (tenant_id, id, property_id, number, floor)
    SELECT 'tnt_01K0000000000000000000000A', 'rom_01K00000000000000000000' || lpad(n::text, 3, '0'),
           'ppt_01K0000000000000000000000A', n::text, n / 100
    FROM generate_series(0, 499) AS n;
    INSERT INTO housekeeping.housekeeping_tasks
        (id, tenant_id, property_id, room_id, kind, priority, status, created_at, next_arrival_at)
    SELECT 'hkt_01K0000000000000000' || lpad(hotel::text, 2, '0') || lpad(n::text, 5, '0'),
           'tnt_01K0000000000000000000000A',
           CASE hotel WHEN 0 THEN 'ppt_01K0000000000000000000000A' ELSE hotel::text END,
           'rom_01K00000000000000000000' || lpad((n % 500)::text, 3, '0'), 'turnover', 'high',
           CASE n % 10 WHEN 3 THEN 'pending' ELSE 'completed' END,
           '2026-11-21 20:00Z'::timestamptz - n * interval '2 minutes', '2026-11-21 22:00Z'
    FROM generate_series(0, 9999) AS n, generate_series(0, 10) AS hotel;
    ANALYZE";

/// The generic plan of the service's role, and the partitions that have rows.
#[expect(clippy::disallowed_methods, reason = "the connection ends with the test")]
async fn plan(database: &TestDatabase) -> (Vec<String>, Vec<String>) {
    let (service, connection) = tokio_postgres::connect(database.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    let begin = format!(
        "SET plan_cache_mode = force_generic_plan; PREPARE board AS {BOARD_SQL};
         BEGIN; SET LOCAL app.tenant_id = '{TENANT}'"
    );
    service.batch_execute(&begin).await.unwrap();
    let explain = format!("EXPLAIN EXECUTE board ('{PROPERTY}', '2026-11-21 20:00Z')");
    let plan = service.query(&explain, &[]).await.unwrap();
    let used = "SELECT DISTINCT relname FROM housekeeping.housekeeping_tasks AS task
                JOIN pg_class ON pg_class.oid = task.tableoid";
    (plan.iter().map(|line| line.get(0)).collect(), database.rows(used).await)
}

#[tokio::test]
async fn the_board_of_a_large_hotel_is_read_by_index() {
    let Fixture { harness, database } = Fixture::new().await;
    database.run(LARGE_BOARD_SQL).await;
    let (plan, partitions) = plan(&database).await;
    assert!(!partitions.is_empty());
    for partition in partitions {
        let scanned = format!("Seq Scan on {partition} ");
        assert!(!plan.iter().any(|line| line.contains(&scanned)), "{}", plan.join("\n"));
    }
    let rooms = fetch(&harness).await["columns"][0]["rooms"].take();
    assert_eq!(rooms.as_array().map(Vec::len), Some(500));
}

#[tokio::test]
async fn the_next_arrival_is_that_of_a_turnover_finished_today() {
    let Fixture { harness, database } = Fixture::new().await;
    database.run(ROOMS_AND_TASKS_SQL).await;
    let next = async || {
        let rooms = fetch(&harness).await["columns"][0]["rooms"].take();
        rooms[1]["nextArrivalAt"].as_str().map(str::to_owned)
    };
    assert_eq!(next().await, None, "finished on the day before");
    database
        .run(
            "UPDATE housekeeping.housekeeping_tasks SET ended_at = '2026-11-21 19:30Z'
             WHERE id = 'hkt_01K00000000000000000000005'",
        )
        .await;
    assert_eq!(next().await.as_deref(), Some("2026-11-21T23:00:00.000Z"));
}
