//! `/maintenance/board`, `/folios/{id}`, `/alerts` and `/ai/suggestions`.

use contracts::id::FolioId;
use serde_json::json;

use crate::answers::{AS_OF, World};
use crate::house::fresh;

/// A folio of the caller's property, in the tests' world.
fn folio(world: &World) -> String {
    format!("/folios/{}", world.house.property.as_str().replace("ppt_", "fol_"))
}

#[tokio::test]
async fn a_read_passes_the_answer_on_and_keeps_it() {
    let world = World::open().await;
    for (route, member) in [
        ("/maintenance/board", "columns"),
        ("/alerts", "items"),
        ("/ai/suggestions", "items"),
        (folio(&world).as_str(), "charges"),
    ] {
        let first = world.get(route).await;
        assert_eq!((first.status.as_u16(), &first.body["asOf"]), (200, &json!(AS_OF)), "{route}");
        assert!(first.body[member].is_array(), "{route} {}", first.body);
        let held = first.headers["etag"].to_str().unwrap();
        let again = world.get_as("front_desk.manager", route, Some(held)).await;
        assert_eq!(
            (again.status.as_u16(), &again.headers["x-cache"]),
            (304, &"HIT".parse().unwrap())
        );
    }
    assert_eq!(world.asked("/"), 4);
}

#[tokio::test]
async fn alerts_of_before_are_shown_while_notification_is_away_for_five_minutes() {
    let world = World::open().await;
    world.get("/alerts").await;
    world.is_away("/api/v1/alerts", 500);
    world.pass(120);
    let stale = world.get("/alerts").await;
    assert_eq!(
        (stale.status.as_u16(), &stale.headers["x-cache"]),
        (200, &"STALE".parse().unwrap())
    );
    assert!(stale.headers["age"].to_str().unwrap().parse::<u64>().unwrap() >= 120);
    assert_eq!(stale.body["items"][0]["title"], "Water");
    world.pass(300);
    world.get("/alerts").await.is_problem(502, "MELMASTOON.BFF.UPSTREAM_UNAVAILABLE");
}

#[tokio::test]
async fn without_ai_there_are_no_suggestions_and_that_is_no_failure() {
    let world = World::open().await;
    let well = world.get("/ai/suggestions").await;
    assert_eq!(
        (&well.body["degraded"], &well.body["items"][0]["title"]),
        (&json!(false), &json!("One more"))
    );
    world.is_away("/api/v1/ai", 500);
    world.pass(61);
    let answer = world.get("/ai/suggestions").await;
    assert_eq!(answer.status, 200);
    assert_eq!((&answer.body["degraded"], &answer.body["items"]), (&json!(true), &json!([])));
    assert_ne!(answer.headers["etag"], well.headers["etag"]);
}

#[tokio::test]
async fn without_their_upstream_boards_and_folios_are_away() {
    let world = World::open().await;
    world.is_away("/api/v1/maintenance", 500);
    world.is_away("/api/v1/folios", 500);
    for route in ["/maintenance/board", folio(&world).as_str()] {
        world.get(route).await.is_problem(502, "MELMASTOON.BFF.UPSTREAM_UNAVAILABLE");
    }
}

#[tokio::test]
async fn a_folio_of_a_property_out_of_scope_is_not_shown_even_when_it_is_known() {
    let world = World::open().await;
    let other = format!("/folios/{}", fresh::<FolioId>());
    for _ in 0..2 {
        let answer = world.get(&other).await;
        answer.is_problem(403, "MELMASTOON.BFF.PROPERTY_OUT_OF_SCOPE");
        assert!(!answer.body.to_string().contains("charges"));
    }
    assert_eq!(world.asked("/api/v1/folios"), 1);
}
