//! `/maintenance/board`, `/folios/{id}`, `/alerts` and `/ai/suggestions`.

use contracts::id::FolioId;
use serde_json::json;

use crate::tests::answers::{AS_OF, ReadFixture};
use crate::tests::test_gateway::fresh;

/// A folio of the caller's property.
fn folio(fixture: &ReadFixture) -> String {
    format!("/folios/{}", fixture.gateway.property.as_str().replace("ppt_", "fol_"))
}

#[tokio::test]
async fn a_read_passes_the_response_on_and_caches_it() {
    let fixture = ReadFixture::open().await;
    for (route, member) in [
        ("/maintenance/board", "columns"),
        ("/alerts", "items"),
        ("/ai/suggestions", "items"),
        (folio(&fixture).as_str(), "charges"),
    ] {
        let first = fixture.get(route).await;
        assert_eq!((first.status.as_u16(), &first.body["asOf"]), (200, &json!(AS_OF)), "{route}");
        assert!(first.body[member].is_array(), "{route} {}", first.body);
        let again = fixture.get(route).holding(first.header("etag")).await;
        assert_eq!(again.status(304).header("x-cache"), "HIT", "{route}");
    }
    assert_eq!(fixture.requests("/"), 4);
}

#[tokio::test]
async fn alerts_of_before_are_shown_while_notification_is_unavailable_for_five_minutes() {
    let fixture = ReadFixture::open().await;
    fixture.get("/alerts").await;
    fixture.is_away("/api/v1/alerts", 500);
    fixture.pass(120);
    let stale = fixture.get("/alerts").await.status(200);
    assert_eq!(stale.header("x-cache"), "STALE");
    assert!(stale.header("age").parse::<u64>().unwrap() >= 120);
    assert_eq!(stale.body["items"][0]["title"], "Water");
    fixture.pass(300);
    fixture.get("/alerts").await.problem(502, "MELMASTOON.BFF.UPSTREAM_UNAVAILABLE");
}

#[tokio::test]
async fn without_ai_the_list_of_suggestions_is_empty_and_degraded() {
    let fixture = ReadFixture::open().await;
    let well = fixture.get("/ai/suggestions").await;
    assert_eq!(
        (&well.body["degraded"], &well.body["items"][0]["title"]),
        (&json!(false), &json!("One more"))
    );
    fixture.is_away("/api/v1/ai", 500);
    fixture.pass(61);
    let response = fixture.get("/ai/suggestions").await.status(200);
    assert_eq!((&response.body["degraded"], &response.body["items"]), (&json!(true), &json!([])));
    assert_ne!(response.headers["etag"], well.headers["etag"]);
}

#[tokio::test]
async fn without_their_upstream_boards_and_folios_are_unavailable() {
    let fixture = ReadFixture::open().await;
    fixture.is_away("/api/v1/maintenance", 500);
    fixture.is_away("/api/v1/folios", 500);
    for route in ["/maintenance/board", folio(&fixture).as_str()] {
        fixture.get(route).await.problem(502, "MELMASTOON.BFF.UPSTREAM_UNAVAILABLE");
    }
}

#[tokio::test]
async fn a_cached_folio_of_a_property_out_of_scope_is_not_shown() {
    let fixture = ReadFixture::open().await;
    let other = format!("/folios/{}", fresh::<FolioId>());
    for _ in 0..2 {
        let response =
            fixture.get(&other).await.problem(403, "MELMASTOON.BFF.PROPERTY_OUT_OF_SCOPE");
        assert!(!response.body.to_string().contains("charges"));
    }
    assert_eq!(fixture.requests("/api/v1/folios"), 1);
}
