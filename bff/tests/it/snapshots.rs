//! What a read keeps and says of it: `X-Cache`, `Age`, `ETag`, and when it is asked for anew.

use std::time::Duration;

use contracts::clock::wire_time;
use contracts::id::{EventId, RequestId};
use http::HeaderMap;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::desk::{BASE, Desk, fresh_key};
use crate::house::{fresh, push_form};
use crate::platform::Command;

async fn availability(desk: &Desk) -> HeaderMap {
    let path = format!("{BASE}/inventory/availability?propertyId={}", desk.house.property);
    let answer = desk.house.send(desk.house.request(&path)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.headers
}

/// Looks at the arrivals, and says how often reservation was asked for them so far.
async fn arrivals(desk: &Desk) -> usize {
    let path = format!("{BASE}/arrivals?propertyId={}", desk.house.property);
    let answer = desk.house.send(desk.house.request(&path)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let seen = desk.platform.seen();
    seen.iter().filter(|call| call.target.contains("/reservations/arrivals")).count()
}

fn age(headers: &HeaderMap) -> u64 {
    headers["age"].to_str().unwrap().parse().unwrap()
}

/// An event of inventory, as the bus pushes it.
fn event(desk: &Desk, kind: &str) -> Value {
    let house = &desk.house;
    push_form(&json!({
        "specversion": "1.0", "id": fresh::<EventId>(), "source": "/services/inventory-service",
        "type": kind, "subject": "blk_1", "time": wire_time(house.clock.now()),
        "datacontenttype": "application/json", "tenantid": house.tenant,
        "propertyid": house.property, "orderingkey": format!("{}:blk_1", house.tenant),
        "correlationid": "c", "actortype": "system", "actorid": "inventory-service",
        "retentionclass": "operational", "data": {},
    }))
}

async fn tell(desk: &Desk, event: &Value) {
    let id = fresh::<RequestId>();
    let answer = desk.house.order("/internal/events", id.as_str(), event).await;
    assert_eq!(answer.status, 204, "{}", answer.body);
}

#[tokio::test]
async fn what_was_read_a_moment_ago_is_not_asked_for_again() {
    let desk = Desk::open().await;
    let first = availability(&desk).await;
    assert_eq!(first["x-cache"], "MISS");
    assert!(first["server-timing"].to_str().unwrap().starts_with("inventory;dur="));
    desk.pass(3);
    let second = availability(&desk).await;
    assert_eq!((&second["x-cache"], age(&second)), (&"HIT".parse().unwrap(), 3));
    assert_eq!(second["etag"], first["etag"]);
    assert_eq!(desk.platform.seen().len(), 1);
    desk.pass(20);
    assert_eq!(availability(&desk).await["x-cache"], "MISS");
}

#[tokio::test]
async fn an_upstream_that_fails_costs_freshness_and_not_the_answer() {
    let desk = Desk::open().await;
    availability(&desk).await;
    desk.pass(60);
    desk.platform.command(Command::Fail(500));
    let stale = availability(&desk).await;
    assert_eq!((&stale["x-cache"], age(&stale)), (&"STALE".parse().unwrap(), 60));
    desk.platform.command(Command::Drift);
    assert_eq!(availability(&desk).await["x-cache"], "STALE");
}

#[tokio::test]
async fn an_event_of_the_service_makes_what_was_read_before_old() {
    let desk = Desk::open().await;
    availability(&desk).await;
    arrivals(&desk).await;
    desk.pass(1);
    tell(&desk, &event(&desk, "melmastoon.inventory.block.created.v1")).await;
    desk.pass(1);
    assert_eq!(availability(&desk).await["x-cache"], "MISS");
    assert_eq!(arrivals(&desk).await, 1, "reservation did not change");
}

#[tokio::test]
async fn who_changes_something_reads_what_was_changed() {
    let desk = Desk::open().await;
    arrivals(&desk).await;
    desk.pass(1);
    let path = format!("{BASE}/reservations/rsv_01K0000000000000000000000A/check-in");
    let change = desk.house.change(&path, |_| {}).header("idempotency-key", fresh_key());
    let change = change.header("content-type", "application/json");
    assert_eq!(desk.house.send_text(change, "{}").await.status, 200);
    desk.pass(1);
    assert_eq!(arrivals(&desk).await, 2);
}

#[tokio::test]
async fn a_reader_that_stands_still_holds_no_place_that_others_need() {
    let desk = Desk::open().await;
    desk.platform.command(Command::Vanish);
    let property = desk.house.property;
    let path = format!("{BASE}/dashboard?propertyId={property}&widgets=availability");
    let request = desk.house.request(&path).header("accept", "application/x-ndjson");
    let unread = desk.house.open_answer(request, "").await;
    assert_eq!(unread.status(), 200);
    let freed = async {
        desk.platform.called().await;
        while desk.house.gateway.composer.load().0 > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), freed).await.expect("its place is free, though nobody reads");
    drop(unread);
}
