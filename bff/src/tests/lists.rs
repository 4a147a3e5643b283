//! Pagination: no unchanged item is missed.

use serde_json::json;

use crate::tests::answers::ReadFixture;

/// Each list with the member that identifies an item.
const LISTS: [(&str, &str, &str); 6] = [
    ("/alerts", "alertId", "/api/v1/alerts"),
    ("/ai/suggestions", "suggestionId", "/api/v1/ai"),
    ("/staff/shifts", "shiftId", "/api/v1/staff"),
    ("/arrivals?date=2026-12-24", "reservationId", "/api/v1/reservations"),
    ("/departures?date=2026-12-24", "reservationId", "/api/v1/reservations"),
    ("/in-house?date=2026-12-24", "reservationId", "/api/v1/reservations"),
];

fn with(route: &str, query: &str) -> String {
    format!("{route}{}{query}", if route.contains('?') { '&' } else { '?' })
}

/// The last letters of a page's ids, and the cursor of the next.
async fn page(
    fixture: &ReadFixture,
    (route, id): (&str, &str),
    query: &str,
) -> (String, Option<String>) {
    let response = fixture.get(&with(route, query)).await.status(200);
    let items = response.body["items"].as_array().unwrap();
    let letter = |item: &serde_json::Value| item[id].as_str().unwrap().chars().last().unwrap();
    (items.iter().map(letter).collect(), response.body["nextCursor"].as_str().map(Into::into))
}

#[tokio::test]
async fn pages_in_a_row_are_the_list_in_its_order_and_its_upstream_is_asked_once() {
    let fixture = ReadFixture::open().await;
    for (route, id, _) in LISTS {
        let (seen, cursor) = page(&fixture, (route, id), "").await;
        assert_eq!((seen.as_str(), cursor), ("CAB", None), "{route}");
        let (mut seen, mut query) = (String::new(), "limit=1".to_owned());
        while seen.len() < 4 {
            let (more, cursor) = page(&fixture, (route, id), &query).await;
            seen.push_str(&more);
            let Some(cursor) = cursor else { break };
            query = format!("limit=1&cursor={cursor}");
        }
        assert_eq!(seen, "CAB", "{route}");
    }
    assert_eq!(
        ["alerts", "ai", "staff"].map(|of| fixture.requests(&format!("/api/v1/{of}"))),
        [1; 3]
    );
    assert_eq!(fixture.requests("/api/v1/reservations"), 3);
}

#[tokio::test]
async fn an_item_removed_between_two_pages_hides_no_other() {
    for (route, id, _) in LISTS {
        let fixture = ReadFixture::open().await;
        let first = fixture.get(&with(route, "limit=2")).await.body;
        let cursor = first["nextCursor"].as_str().unwrap();
        for settled in [1, 0] {
            fixture.is_gone(first["items"][settled][id].as_str().unwrap());
            fixture.pass(61);
            let next = page(&fixture, (route, id), &format!("limit=2&cursor={cursor}")).await;
            assert_eq!(next, ("B".to_owned(), None), "{route}");
        }
    }
}

#[tokio::test]
async fn a_cursor_that_is_no_longer_in_the_list_is_refused() {
    for (route, id, _) in LISTS {
        let fixture = ReadFixture::open().await;
        let all = fixture.get(route).await.body;
        let ids = [0, 1].map(|at| all["items"][at][id].as_str().unwrap());
        let cursor = fixture.get(&with(route, "limit=1")).await.body["nextCursor"].clone();
        for id in ids {
            fixture.is_gone(id);
        }
        fixture.pass(61);
        let route = with(route, &format!("cursor={}", cursor.as_str().unwrap()));
        let response = fixture.get(&route).await.invalid("query.cursor");
        assert!(response.body.to_string().contains("start again"), "{}", response.body);
    }
}

#[tokio::test]
async fn an_invalid_page_is_refused_without_an_upstream_call() {
    let fixture = ReadFixture::open().await;
    for (route, _, upstream) in LISTS {
        let most = if upstream.ends_with("reservations") { 1001 } else { 201 };
        for (query, field) in [
            ("cursor=x".to_owned(), "query.cursor"),
            ("limit=0".to_owned(), "query.limit"),
            ("limit=-1".to_owned(), "query.limit"),
            ("limit=x".to_owned(), "query.limit"),
            ("limit=70000".to_owned(), "query.limit"),
            (format!("limit={most}"), "query.limit"),
        ] {
            fixture.get(&with(route, &query)).await.invalid(field);
        }
        assert_eq!(fixture.requests(upstream), 0);
    }
}

#[tokio::test]
async fn a_page_has_the_entity_tag_of_the_whole_list() {
    let fixture = ReadFixture::open().await;
    let first = fixture.get("/alerts?limit=2").await;
    assert_eq!(first.body["items"].as_array().unwrap().len(), 2);
    let again = fixture.get("/alerts?limit=2").holding(first.header("etag")).await;
    assert_eq!(again.status(304).header("x-cache"), "HIT");
    fixture.is_away("/api/v1/ai", 500);
    let none = fixture.get("/ai/suggestions?limit=1").await.body;
    assert_eq!((&none["items"], &none["nextCursor"]), (&json!([]), &json!(null)));
}
