//! Reads of inventory, housekeeping and staff: `/inventory/calendar`, `/housekeeping/board` and
//! `/staff/*`.

use crate::desk::{BASE, Desk};
use crate::house::Answer;
use crate::platform::Command;

fn request(desk: &Desk, route: &str) -> http::request::Builder {
    let joint = if route.contains('?') { '&' } else { '?' };
    let path = format!("{BASE}{route}{joint}propertyId={}", desk.house.property);
    let token = desk.house.token(|claims| claims.roles = vec!["property.gm".into()]);
    let proof = desk.house.proof(path.split('?').next().unwrap(), &token, |_| {});
    desk.house.with(&path, &format!("DPoP {token}"), &proof)
}

async fn get(desk: &Desk, route: &str) -> Answer {
    desk.house.send(request(desk, route)).await
}

fn asked(desk: &Desk) -> Vec<String> {
    desk.platform.seen().into_iter().map(|seen| seen.target).collect()
}

fn came(answer: &Answer) -> (u16, &str) {
    let cache = answer.headers.get("x-cache").map_or("", |value| value.to_str().unwrap());
    (answer.status.as_u16(), cache)
}

#[tokio::test]
async fn each_asks_its_service_for_what_was_asked_once_and_passes_the_answer_on() {
    let desk = Desk::open().await;
    let property = desk.house.property;
    let inventory = format!("/api/v1/inventory/properties/{property}/calendar");
    let of = |what: &str| format!("/api/v1/{what}?propertyId={property}");
    let window = "from=2026-11-22&to=2026-11-24";
    let routes = [
        ("/inventory/calendar".to_owned(), inventory.clone(), "stays"),
        (format!("/inventory/calendar?{window}"), format!("{inventory}?{window}"), "rooms"),
        ("/housekeeping/board".to_owned(), of("housekeeping/board"), "columns"),
        ("/staff/shifts".to_owned(), of("staff/shifts"), "items"),
        (
            "/staff/shifts?date=2026-11-22".to_owned(),
            of("staff/shifts") + "&date=2026-11-22",
            "items",
        ),
        ("/staff/capacity".to_owned(), of("staff/capacity"), "departments"),
        ("/staff/on-duty".to_owned(), of("staff/on-duty"), "departments"),
    ];
    for (route, target, member) in routes {
        let before = asked(&desk).len();
        let first = get(&desk, &route).await;
        assert_eq!(came(&first), (200, "MISS"), "{route} {}", first.body);
        assert_eq!(first.body["propertyId"], property.as_str());
        assert!(first.body[member].is_array(), "{route} {}", first.body);
        let held = request(&desk, &route).header("if-none-match", &first.headers["etag"]);
        let again = desk.house.send(held).await;
        assert_eq!(came(&again), (304, "HIT"), "{route}");
        let asked = &asked(&desk)[before..];
        assert_eq!(asked.len(), 1, "{asked:?}");
        assert_eq!(asked[0].trim_end_matches('?'), target);
    }
}

#[tokio::test]
async fn who_is_on_duty_is_asked_once_for_the_dashboard_and_the_page() {
    let desk = Desk::open().await;
    let dashboard = get(&desk, "/dashboard?widgets=staffOnDuty").await;
    assert_eq!(dashboard.status, 200, "{}", dashboard.body);
    let page = get(&desk, "/staff/on-duty").await;
    assert_eq!(came(&page), (200, "HIT"), "{}", page.body);
    assert_eq!(asked(&desk).len(), 1);
}

#[tokio::test]
async fn the_board_of_before_is_shown_with_its_age_while_housekeeping_is_away_for_five_minutes() {
    let desk = Desk::open().await;
    // States the time zone: without it the board would end where a day may begin somewhere.
    get(&desk, "/staff/shifts").await;
    let first = get(&desk, "/housekeeping/board").await;
    assert_eq!(came(&first), (200, "MISS"), "{}", first.body);
    desk.pass(120);
    desk.platform.command(Command::Fail(500));
    let stale = get(&desk, "/housekeeping/board").await;
    assert_eq!(came(&stale), (200, "STALE"), "{}", stale.body);
    assert!(stale.headers["age"].to_str().unwrap().parse::<u64>().unwrap() >= 120);
    assert_eq!(stale.body["pendingTasksAtArrivalWindow"], 3);
    desk.pass(300);
    desk.platform.command(Command::Fail(500));
    let gone = get(&desk, "/housekeeping/board").await;
    gone.is_problem(502, "MELMASTOON.BFF.UPSTREAM_UNAVAILABLE");
    assert_eq!(came(&get(&desk, "/housekeeping/board").await), (200, "MISS"));
}

#[tokio::test]
async fn a_day_that_is_none_is_named_and_nobody_is_asked() {
    let desk = Desk::open().await;
    for (route, field) in [
        ("/inventory/calendar?from=x", "query.from"),
        ("/inventory/calendar?to=2026-13-01", "query.to"),
        ("/staff/shifts?date=tomorrow", "query.date"),
    ] {
        let answer = get(&desk, route).await;
        answer.is_problem(400, "MELMASTOON.GENERAL.VALIDATION_FAILED");
        assert_eq!(answer.body["errors"][0]["field"], field);
    }
    assert!(asked(&desk).is_empty());
}
