//! The demo data in real tables, created by the real migrations.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::path::Path;

use contracts::clock::Clock;
use launcher::data_dir::DataDir;
use launcher::dependencies::TestDependencies;
use launcher::secrets::Secrets;
use launcher::{Progress, databases, seed};

async fn count(admin_url: &str, database: &str, what: &str) -> i64 {
    let mut config: tokio_postgres::Config = admin_url.parse().unwrap();
    let (client, connection) =
        config.dbname(database).connect(tokio_postgres::NoTls).await.unwrap();
    let sql = format!("SELECT count(*) FROM {what}");
    tokio::select! {
        row = client.query_one(&sql, &[]) => row.unwrap().get(0),
        ended = connection => panic!("{ended:?}"),
    }
}

async fn write_demo_data(url: &str, at: &str) {
    let clock = Clock::fixed(at.parse().unwrap());
    seed::write(url, &clock, &Progress::quiet()).await.unwrap();
}

#[tokio::test]
async fn the_demo_data_is_complete_kept_for_a_day_and_moved_to_the_next() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("seed");
    let test = TestDependencies::start(path.clone(), &Progress::quiet()).await.unwrap();
    let url = test.dependencies.admin_url.clone();
    let secrets = Secrets::load_or_make(&DataDir::open(&path).unwrap()).unwrap();
    databases::provision(&url, &secrets, &Progress::quiet()).await.unwrap();
    let today = "stay_date < '2026-11-21'";
    let past = format!("inventory.room_type_inventory_daily WHERE {today}");

    write_demo_data(&url, "2026-11-21T09:00:00Z").await;
    assert_eq!(count(&url, "inventory", "inventory.rooms").await, 120);
    assert_eq!(count(&url, "housekeeping", "housekeeping.room_status").await, 120);
    assert!(count(&url, "housekeeping", "housekeeping.housekeeping_tasks").await > 20);
    assert!(count(&url, "staff", "staff.clock_entries").await > 10);
    assert_eq!(count(&url, "staff", "staff.properties").await, 3);
    assert!(count(&url, "staff", "staff.shifts WHERE required > 1").await > 10);
    let allocations = count(&url, "inventory", "inventory.room_allocations").await;
    assert!(allocations > 300, "{allocations}");
    let first = count(&url, "inventory", &past).await;

    // Later on the same day nothing is written.
    write_demo_data(&url, "2026-11-21T18:00:00Z").await;
    assert_eq!(count(&url, "inventory", "inventory.room_allocations").await, allocations);
    assert_eq!(count(&url, "inventory", &past).await, first);

    // The next day all tables are rewritten, append-only ones too.
    write_demo_data(&url, "2026-11-22T09:00:00Z").await;
    assert_eq!(count(&url, "inventory", "inventory.rooms").await, 120);
    assert!(count(&url, "inventory", &past).await < first);
    test.stop().await;
}
