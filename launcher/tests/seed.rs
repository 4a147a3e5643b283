//! The demo house in real tables, under the real migrations.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::path::Path;

use contracts::clock::Clock;
use launcher::backing::TestBacking;
use launcher::folder::DataFolder;
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

async fn open_house(url: &str, at: &str) {
    let clock = Clock::fixed(at.parse().unwrap());
    seed::write(url, &clock, &Progress::quiet()).await.unwrap();
}

#[tokio::test]
async fn the_house_is_whole_kept_for_a_day_and_moved_to_the_next() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("seed");
    let test = TestBacking::start(path.clone(), &Progress::quiet()).await.unwrap();
    let url = test.backing.admin_url.clone();
    let secrets = Secrets::load_or_make(&DataFolder::open(&path).unwrap()).unwrap();
    databases::provision(&url, &secrets, &Progress::quiet()).await.unwrap();
    let today = "stay_date < '2026-11-21'";
    let past = format!("inventory.room_type_inventory_daily WHERE {today}");

    open_house(&url, "2026-11-21T09:00:00Z").await;
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
    open_house(&url, "2026-11-21T18:00:00Z").await;
    assert_eq!(count(&url, "inventory", "inventory.room_allocations").await, allocations);
    assert_eq!(count(&url, "inventory", &past).await, first);

    // The next day the whole house has moved, its append-only tables too.
    open_house(&url, "2026-11-22T09:00:00Z").await;
    assert_eq!(count(&url, "inventory", "inventory.rooms").await, 120);
    assert!(count(&url, "inventory", &past).await < first);
    test.stop().await;
}
