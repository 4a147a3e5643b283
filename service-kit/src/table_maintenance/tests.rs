use contracts::env::Env;
use metrics_exporter_prometheus::PrometheusBuilder;
use migrations::Schema;
use migrations::testing::TestDatabase;

use super::*;
use crate::lifecycle::Lifecycle;
use crate::testing::postgres;

const MAINTENANCE: TableMaintenance = TableMaintenance {
    schema: "housekeeping",
    prefix: "test",
    has_months: true,
    swept: &["inbox", "outbox"],
};

/// 1,201 expired rows, and tasks of a month that was never made and of a far year.
const ROWS_SQL: &str = "
    INSERT INTO housekeeping.inbox (tenant_id, event_type, event_id, received_at, processed_at)
    SELECT 't', 'a', n::text, now() - interval '40 days', now() - interval '40 days'
    FROM generate_series(0, 1200) AS n;
    INSERT INTO housekeeping.housekeeping_tasks
        (id, tenant_id, property_id, room_id, kind, priority, status, created_at)
    VALUES ('1', 't', 'p', 'r', 'turnover', 'high', 'pending', '2019-04-15Z'),
           ('2', 't', 'p', 'r', 'turnover', 'high', 'pending', '2199-01-01Z')";

fn store(database: &TestDatabase) -> Database {
    Database::new(&postgres(database.url(), 4)).unwrap()
}

#[tokio::test]
async fn one_run_deletes_expired_rows_and_records_metrics() {
    let database = TestDatabase::create(Schema::Housekeeping).await;
    database.run(ROWS_SQL).await;
    let recorder = PrometheusBuilder::new().build_recorder();
    let _local = metrics::set_default_local_recorder(&recorder);
    let clock = Clock::fixed("2026-11-21T20:00:00Z".parse().unwrap());
    let store = store(&database);
    let swept = MAINTENANCE.sweep(&store, &clock).await.unwrap().unwrap();
    assert_eq!(
        swept,
        SweepReport { rows: [("inbox", 1201), ("outbox", 0)].into(), complete: true }
    );
    MAINTENANCE.rotate(&store).await.unwrap();
    let metrics = recorder.handle().render();
    for line in [
        "test_swept_rows_total{table=\"inbox\"} 1201",
        "test_sweep_last_success_timestamp_seconds 1795291200",
        "test_partition_rotation_total{outcome=\"success\"} 1",
        "test_default_partition_rows{table=\"housekeeping_tasks\"} 1",
        "test_partition_months_ahead{table=\"housekeeping_tasks\"} 4",
    ] {
        assert!(metrics.lines().any(|shown| shown == line), "{line} in\n{metrics}");
    }
}

#[tokio::test]
async fn an_error_in_one_table_is_returned_after_sweeping_the_others() {
    let database = TestDatabase::create(Schema::Housekeeping).await;
    database.run(ROWS_SQL).await;
    let maintenance = TableMaintenance { swept: &["missing", "inbox"], ..MAINTENANCE };
    assert!(maintenance.sweep(&store(&database), &Clock::system()).await.is_err());
    let left = "SELECT event_id FROM housekeeping.inbox";
    assert_eq!(database.rows(left).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_started_program_creates_months_and_sweeps() {
    let database = TestDatabase::create(Schema::Housekeeping).await;
    database.run(ROWS_SQL).await;
    let (lifecycle, store) = (Lifecycle::new(), store(&database));
    let config = MaintenanceConfig { jitter_seconds: 0, ..MaintenanceConfig::default() };
    let driver = TaskDriver::new(Env::system(), lifecycle.clone());
    MAINTENANCE.start(&config, &store, &Clock::system(), &driver);
    let waiting = "SELECT 'row' FROM housekeeping.inbox
                   UNION ALL SELECT 'month' WHERE to_regclass('housekeeping.housekeeping_tasks_201904') IS NULL";
    let done = async { while !database.rows(waiting).await.is_empty() {} };
    tokio::time::timeout(Duration::from_secs(30), done).await.expect("it works at start");
    lifecycle.drain().await;
}
