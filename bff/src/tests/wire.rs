//! Rules of every read: entity tags, caching, content negotiation, and parameters out of range.

use serde_json::Value;

use crate::tests::answers::ReadFixture;
use crate::tests::call::TestCall;
use crate::tests::fixture::BASE;
use crate::tests::test_gateway::TestGateway;

const INVALID: &str = "MELMASTOON.GENERAL.VALIDATION_FAILED";

/// The reads of the document, below the base path.
fn reads() -> Vec<String> {
    let document: Value = serde_json::from_str(&crate::http::openapi::json()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let reads = paths.iter().filter(|(_, item)| item.get("get").is_some());
    reads.map(|(path, _)| path.strip_prefix(BASE).unwrap().to_owned()).collect()
}

#[tokio::test]
async fn every_read_has_an_entity_tag_and_an_unchanged_one_is_304() {
    let fixture = ReadFixture::open().await;
    let folio = fixture.gateway.property.as_str().replace("ppt_", "fol_");
    let routes: Vec<_> = reads().into_iter().filter(|path| path != "/sse/stream").collect();
    assert!(routes.len() > 15, "{routes:?}");
    // One widget, which is cached: a late one would change the dashboard's tag.
    let dashboard = "/dashboard?widgets=propertyCard";
    let routes = routes.iter().map(|route| route.replace("{id}", &folio));
    for route in routes.map(|route| route.replace("/dashboard", dashboard)) {
        let first = fixture.get(&route).await.status(200);
        let tag = first.header("etag").to_owned();
        assert!(tag.starts_with("W/\"") && tag.ends_with('"'), "{route} {tag}");
        assert_eq!(first.header("cache-control"), "private, no-cache", "{route}");
        let held = format!("\"other, one\", {}", tag.trim_start_matches("W/"));
        let again = fixture.get(&route).holding(&held).await;
        assert_eq!((again.status.as_u16(), again.header("etag")), (304, tag.as_str()), "{route}");
        assert_eq!(again.header("cache-control"), "private, no-cache", "{route}");
        assert_eq!(again.body, Value::Null, "{route}");
        fixture.get(&route).holding("\"other, one\"").await.status(200);
    }
}

#[tokio::test]
async fn refusals_and_streams_are_not_cached() {
    let fixture = ReadFixture::open().await;
    let refused = fixture.get("/arrivals?date=tomorrow").await.problem(400, INVALID);
    assert_eq!(refused.header("cache-control"), "no-store");
    assert!(!refused.headers.contains_key("etag"));
    let lines = accepted(&fixture.gateway, &["application/x-ndjson"]).await;
    assert_eq!(lines.header("cache-control"), "no-store");
    assert!(!lines.headers.contains_key("etag"));
}

fn accepted<'a>(gateway: &'a TestGateway, accept: &'a [&'a str]) -> TestCall<'a> {
    let path = format!("{BASE}/dashboard?propertyId={}&widgets=syncStatus", gateway.property);
    gateway.get(path).header_lines("accept", accept)
}

#[tokio::test]
async fn the_dashboard_comes_in_the_form_that_accept_asks_for() {
    let gateway = TestGateway::open().await;
    for (accept, form) in [
        (&[][..], "application/json"),
        (&["Application/JSON"], "application/json"),
        (&["application/x-ndjson;q=0, application/json"], "application/json"),
        (&["text/html", "Application/X-NDJSON;q=0.3"], "application/x-ndjson"),
        (&["*/*;q=0.1", "text/event-stream"], "text/event-stream"),
        (&["application/*;q=0.2, text/*;q=0.1"], "application/json"),
    ] {
        let response = accepted(&gateway, accept).await;
        assert_eq!((response.status.as_u16(), response.header("content-type")), (200, form));
        assert!(response.header("vary").to_lowercase().contains("accept"), "{accept:?}");
    }
    for none in [&["image/png"][..], &["application/json;q=0"], &["*/*;q=0"]] {
        accepted(&gateway, none).await.problem(406, "MELMASTOON.GENERAL.NOT_ACCEPTABLE");
    }
}

#[tokio::test]
async fn an_instant_or_a_day_that_no_store_holds_is_named() {
    let fixture = ReadFixture::open().await;
    for (route, field) in [
        ("/locks/audit?from=-004800-01-01", "query.from"),
        ("/locks/audit?from=-004800-01-01T00:00:00Z", "query.from"),
        ("/locks/audit?to=0000-12-31T23:59:59Z", "query.to"),
        ("/locks/audit?cursor=-210866803200000000-1", "query.cursor"),
        ("/locks/audit?cursor=a%00b", "query.cursor"),
        ("/locks/audit?from=2026-11-21%00", "query.from"),
        ("/arrivals?date=0000-12-31", "query.date"),
        ("/departures?date=-004800-01-01", "query.date"),
        ("/in-house?date=%2B010000-01-01", "query.date"),
        ("/today?date=2026-11-21%00", "query.date"),
        ("/staff/shifts?date=0000-01-01", "query.date"),
        ("/inventory/availability?from=-000001-01-01", "query.from"),
        ("/inventory/calendar?to=20261121", "query.to"),
        ("/dashboard?widgets=%00", "query.widgets"),
        ("/alerts?cursor=%00", "query.cursor"),
        ("/alerts?limit=%00", "query.limit"),
        ("/sse/stream?channels=%00", "query.channels"),
    ] {
        fixture.get(route).await.invalid(field);
    }
}
