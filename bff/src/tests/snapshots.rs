//! Cached reads: `X-Cache`, `Age`, `ETag` and refreshes.

use std::time::Duration;

use contracts::clock::wire_time;
use contracts::id::EventId;
use http::HeaderMap;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::tests::fake_upstreams::Command;
use crate::tests::fixture::{BASE, Fixture, fresh_key};
use crate::tests::issuer::EVENTS;
use crate::tests::test_gateway::{fresh, push_form};

async fn availability(fixture: &Fixture) -> HeaderMap {
    let path = format!("{BASE}/inventory/availability?propertyId={}", fixture.gateway.property);
    let response = fixture.gateway.get(&path).await.status(200);
    response.headers
}

/// Reads the arrivals, and returns the number of calls to reservation so far.
async fn arrivals(fixture: &Fixture) -> usize {
    let path = format!("{BASE}/arrivals?propertyId={}", fixture.gateway.property);
    fixture.gateway.get(&path).await.status(200);
    let seen = fixture.fake.seen();
    seen.iter().filter(|call| call.target.contains("/reservations/arrivals")).count()
}

fn age(headers: &HeaderMap) -> u64 {
    headers["age"].to_str().unwrap().parse().unwrap()
}

/// An event of inventory, as the bus pushes it.
fn event(fixture: &Fixture, kind: &str) -> Value {
    let gateway = &fixture.gateway;
    push_form(&json!({
        "specversion": "1.0", "id": fresh::<EventId>(), "source": "/services/inventory-service",
        "type": kind, "subject": "blk_1", "time": wire_time(gateway.clock.now()),
        "datacontenttype": "application/json", "tenantid": gateway.tenant,
        "propertyid": gateway.property, "orderingkey": format!("{}:blk_1", gateway.tenant),
        "correlationid": "c", "actortype": "system", "actorid": "inventory-service",
        "retentionclass": "operational", "data": {},
    }))
}

async fn push_event(fixture: &Fixture, event: &Value) {
    fixture.gateway.account(EVENTS).post("/internal/events").json(event).await.status(204);
}

#[tokio::test]
async fn a_fresh_read_makes_no_upstream_call() {
    let fixture = Fixture::open().await;
    let first = availability(&fixture).await;
    assert_eq!(first["x-cache"], "MISS");
    assert!(first["server-timing"].to_str().unwrap().starts_with("inventory;dur="));
    fixture.pass(3);
    let second = availability(&fixture).await;
    assert_eq!((&second["x-cache"], age(&second)), (&"HIT".parse().unwrap(), 3));
    assert_eq!(second["etag"], first["etag"]);
    assert_eq!(fixture.fake.seen().len(), 1);
    fixture.pass(20);
    assert_eq!(availability(&fixture).await["x-cache"], "MISS");
}

#[tokio::test]
async fn an_upstream_that_fails_costs_freshness_and_not_the_answer() {
    let fixture = Fixture::open().await;
    availability(&fixture).await;
    fixture.pass(60);
    fixture.fake.command(Command::Fail(500));
    let stale = availability(&fixture).await;
    assert_eq!((&stale["x-cache"], age(&stale)), (&"STALE".parse().unwrap(), 60));
    fixture.fake.command(Command::Drift);
    assert_eq!(availability(&fixture).await["x-cache"], "STALE");
}

#[tokio::test]
async fn an_event_of_the_service_invalidates_cached_reads() {
    let fixture = Fixture::open().await;
    availability(&fixture).await;
    arrivals(&fixture).await;
    fixture.pass(1);
    push_event(&fixture, &event(&fixture, "melmastoon.inventory.block.created.v1")).await;
    fixture.pass(1);
    assert_eq!(availability(&fixture).await["x-cache"], "MISS");
    assert_eq!(arrivals(&fixture).await, 1, "reservation did not change");
}

#[tokio::test]
async fn a_read_after_a_mutation_sees_the_change() {
    let fixture = Fixture::open().await;
    arrivals(&fixture).await;
    fixture.pass(1);
    let path = format!("{BASE}/reservations/rsv_01K0000000000000000000000A/check-in");
    fixture.gateway.post(path).key(fresh_key()).text("{}").await.status(200);
    fixture.pass(1);
    assert_eq!(arrivals(&fixture).await, 2);
}

#[tokio::test]
async fn a_stalled_reader_does_not_block_other_connections() {
    let fixture = Fixture::open().await;
    fixture.fake.command(Command::Vanish);
    let property = fixture.gateway.property;
    let path = format!("{BASE}/dashboard?propertyId={property}&widgets=availability");
    let unread = fixture.gateway.get(path).header("accept", "application/x-ndjson").stream().await;
    let freed = async {
        fixture.fake.called().await;
        while fixture.gateway.state.composer.load().0 > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), freed)
        .await
        .expect("its slot is free, although the reader is gone");
    drop(unread);
}
