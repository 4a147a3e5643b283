//! Lists come a page at a time, and miss nothing that was there all along.

use serde_json::json;

use crate::answers::World;

/// Each with what names an item.
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
async fn page(world: &World, (route, id): (&str, &str), query: &str) -> (String, Option<String>) {
    let answer = world.get(&with(route, query)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let items = answer.body["items"].as_array().unwrap();
    let letter = |item: &serde_json::Value| item[id].as_str().unwrap().chars().last().unwrap();
    (items.iter().map(letter).collect(), answer.body["nextCursor"].as_str().map(Into::into))
}

#[tokio::test]
async fn pages_in_a_row_are_the_list_in_its_order_and_its_upstream_is_asked_once() {
    let world = World::open().await;
    for (route, id, _) in LISTS {
        let (seen, cursor) = page(&world, (route, id), "").await;
        assert_eq!((seen.as_str(), cursor), ("CAB", None), "{route}");
        let (mut seen, mut query) = (String::new(), "limit=1".to_owned());
        while seen.len() < 4 {
            let (more, cursor) = page(&world, (route, id), &query).await;
            seen.push_str(&more);
            let Some(cursor) = cursor else { break };
            query = format!("limit=1&cursor={cursor}");
        }
        assert_eq!(seen, "CAB", "{route}");
    }
    assert_eq!(["alerts", "ai", "staff"].map(|of| world.asked(&format!("/api/v1/{of}"))), [1; 3]);
    assert_eq!(world.asked("/api/v1/reservations"), 3);
}

#[tokio::test]
async fn what_is_settled_between_two_pages_hides_nothing_else() {
    for (route, id, _) in LISTS {
        let world = World::open().await;
        let first = world.get(&with(route, "limit=2")).await.body;
        let cursor = first["nextCursor"].as_str().unwrap();
        for settled in [1, 0] {
            world.is_gone(first["items"][settled][id].as_str().unwrap());
            world.pass(61);
            let next = page(&world, (route, id), &format!("limit=2&cursor={cursor}")).await;
            assert_eq!(next, ("B".to_owned(), None), "{route}");
        }
    }
}

#[tokio::test]
async fn a_cursor_whose_place_is_gone_is_refused_and_says_to_begin_again() {
    for (route, id, _) in LISTS {
        let world = World::open().await;
        let all = world.get(route).await.body;
        let ids = [0, 1].map(|at| all["items"][at][id].as_str().unwrap());
        let cursor = world.get(&with(route, "limit=1")).await.body["nextCursor"].clone();
        for id in ids {
            world.is_gone(id);
        }
        world.pass(61);
        let answer = world.get(&with(route, &format!("cursor={}", cursor.as_str().unwrap()))).await;
        answer.is_problem(400, "MELMASTOON.GENERAL.VALIDATION_FAILED");
        assert_eq!(answer.body["errors"][0]["field"], "query.cursor", "{route}");
        assert!(answer.body.to_string().contains("begin again"), "{}", answer.body);
    }
}

#[tokio::test]
async fn a_page_that_cannot_be_is_named_and_nobody_is_asked() {
    let world = World::open().await;
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
            let answer = world.get(&with(route, &query)).await;
            answer.is_problem(400, "MELMASTOON.GENERAL.VALIDATION_FAILED");
            assert_eq!(answer.body["errors"][0]["field"], field, "{route}");
        }
        assert_eq!(world.asked(upstream), 0);
    }
}

#[tokio::test]
async fn a_page_is_held_by_its_tag_like_the_whole() {
    let world = World::open().await;
    let first = world.get("/alerts?limit=2").await;
    assert_eq!(first.body["items"].as_array().unwrap().len(), 2);
    let held = first.headers["etag"].to_str().unwrap();
    let again = world.get_as("front_desk.manager", "/alerts?limit=2", Some(held)).await;
    assert_eq!((again.status.as_u16(), &again.headers["x-cache"]), (304, &"HIT".parse().unwrap()));
    world.is_away("/api/v1/ai", 500);
    let none = world.get("/ai/suggestions?limit=1").await.body;
    assert_eq!((&none["items"], &none["nextCursor"]), (&json!([]), &json!(null)));
}
