//! Reads that one upstream responses: `/arrivals` and `/inventory/availability`.

use contracts::clock::{Clock, Entropy};
use contracts::id::{Id, PropertyId};

use crate::tests::fake_upstreams::{Command, refusal};
use crate::tests::fixture::{BASE, Fixture};

fn paths(fixture: &Fixture) -> [String; 2] {
    let property = fixture.gateway.property;
    [
        format!("{BASE}/arrivals?propertyId={property}&date=2026-11-22"),
        format!(
            "{BASE}/inventory/availability?propertyId={property}&from=2026-11-22&to=2026-11-24"
        ),
    ]
}

#[tokio::test]
async fn a_read_calls_its_upstream_and_passes_the_response_on() {
    let fixture = Fixture::open().await;
    let [arrivals, availability] = paths(&fixture);
    let response = fixture.gateway.get(&arrivals).await;
    assert_eq!((response.status.as_u16(), &response.body["date"]), (200, &"2026-11-22".into()));
    let response = fixture.gateway.get(&availability).await;
    assert_eq!((response.status.as_u16(), &response.body["to"]), (200, &"2026-11-24".into()));
    let property = fixture.gateway.property;
    let targets: Vec<_> = fixture.fake.seen().into_iter().map(|seen| seen.target).collect();
    assert_eq!(
        targets,
        [
            format!("/api/v1/reservations/arrivals?propertyId={property}&date=2026-11-22"),
            format!(
                "/api/v1/inventory/properties/{property}/availability?from=2026-11-22&to=2026-11-24"
            ),
        ]
    );
}

#[tokio::test]
async fn the_days_are_optional_and_an_unchanged_response_is_304() {
    let fixture = Fixture::open().await;
    let property = fixture.gateway.property;
    for path in ["arrivals", "inventory/availability"] {
        let path = format!("{BASE}/{path}?propertyId={property}");
        let response = fixture.gateway.get(&path).await.status(200);
        let held = fixture.gateway.get(&path).holding(response.header("etag"));
        held.await.status(304);
    }
    assert!(fixture.fake.seen().iter().all(|seen| !seen.target.contains("2026")));
}

#[tokio::test]
async fn an_invalid_day_is_refused_without_an_upstream_call() {
    let fixture = Fixture::open().await;
    for (path, field) in [
        ("arrivals?date=tomorrow", "query.date"),
        ("inventory/availability?from=2026-13-01", "query.from"),
        ("inventory/availability?to=x", "query.to"),
    ] {
        let path = format!("{BASE}/{path}&propertyId={}", fixture.gateway.property);
        fixture.gateway.get(&path).await.invalid(field);
    }
    assert!(fixture.fake.seen().is_empty());
}

#[tokio::test]
async fn without_its_upstream_a_read_reports_how_the_call_failed() {
    let fixture = Fixture::open().await;
    for path in paths(&fixture) {
        for (command, status, code) in [
            (Command::Fail(500), 502, "MELMASTOON.BFF.UPSTREAM_UNAVAILABLE"),
            (Command::Vanish, 502, "MELMASTOON.BFF.UPSTREAM_UNAVAILABLE"),
            (Command::Drift, 502, "MELMASTOON.BFF.SCHEMA_DRIFT"),
            (
                Command::Refuse(refusal(404, "MELMASTOON.A.NOT_FOUND")),
                404,
                "MELMASTOON.A.NOT_FOUND",
            ),
        ] {
            fixture.fake.command(command);
            fixture.gateway.get(&path).await.problem(status, code);
        }
    }
}

#[tokio::test]
async fn a_property_out_of_scope_makes_no_upstream_call() {
    let fixture = Fixture::open().await;
    let other = PropertyId::generate(&Clock::system(), &Entropy::system());
    for path in paths(&fixture) {
        let path = path.replace(fixture.gateway.property.as_str(), other.as_str());
        fixture.gateway.get(&path).await.problem(403, "MELMASTOON.BFF.PROPERTY_OUT_OF_SCOPE");
    }
    assert!(fixture.fake.seen().is_empty());
}
