//! Reads of inventory, housekeeping and staff: `/inventory/calendar`, `/housekeeping/board` and
//! `/staff/*`.

use crate::tests::call::TestCall;
use crate::tests::fake_upstreams::Command;
use crate::tests::fixture::{BASE, Fixture};
use crate::tests::test_gateway::TestResponse;

fn get<'a>(fixture: &'a Fixture, route: &str) -> TestCall<'a> {
    let joint = if route.contains('?') { '&' } else { '?' };
    let path = format!("{BASE}{route}{joint}propertyId={}", fixture.gateway.property);
    fixture.gateway.get(path).role("property.gm")
}

fn requests(fixture: &Fixture) -> Vec<String> {
    fixture.fake.seen().into_iter().map(|seen| seen.target).collect()
}

fn came(response: &TestResponse) -> (u16, &str) {
    (response.status.as_u16(), response.header("x-cache"))
}

#[tokio::test]
async fn each_read_calls_its_service_once_and_passes_the_response_on() {
    let fixture = Fixture::open().await;
    let property = fixture.gateway.property;
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
        let before = requests(&fixture).len();
        let first = get(&fixture, &route).await;
        assert_eq!(came(&first), (200, "MISS"), "{route} {}", first.body);
        assert_eq!(first.body["propertyId"], property.as_str());
        assert!(first.body[member].is_array(), "{route} {}", first.body);
        let again = get(&fixture, &route).holding(first.header("etag")).await;
        assert_eq!(came(&again), (304, "HIT"), "{route}");
        let requests = &requests(&fixture)[before..];
        assert_eq!(requests.len(), 1, "{requests:?}");
        assert_eq!(requests[0].trim_end_matches('?'), target);
    }
}

#[tokio::test]
async fn the_dashboard_and_the_page_share_one_call_for_staff_on_duty() {
    let fixture = Fixture::open().await;
    get(&fixture, "/dashboard?widgets=staffOnDuty").await.status(200);
    let page = get(&fixture, "/staff/on-duty").await;
    assert_eq!(came(&page), (200, "HIT"), "{}", page.body);
    assert_eq!(requests(&fixture).len(), 1);
}

#[tokio::test]
async fn a_stale_board_is_shown_with_its_age_for_five_minutes_without_housekeeping() {
    let fixture = Fixture::open().await;
    // States the time zone: without it the board would end where a day may begin somewhere.
    get(&fixture, "/staff/shifts").await;
    let first = get(&fixture, "/housekeeping/board").await;
    assert_eq!(came(&first), (200, "MISS"), "{}", first.body);
    fixture.pass(120);
    fixture.fake.command(Command::Fail(500));
    let stale = get(&fixture, "/housekeeping/board").await;
    assert_eq!(came(&stale), (200, "STALE"), "{}", stale.body);
    assert!(stale.header("age").parse::<u64>().unwrap() >= 120);
    assert_eq!(stale.body["pendingTasksAtArrivalWindow"], 3);
    fixture.pass(300);
    fixture.fake.command(Command::Fail(500));
    get(&fixture, "/housekeeping/board").await.problem(502, "MELMASTOON.BFF.UPSTREAM_UNAVAILABLE");
    assert_eq!(came(&get(&fixture, "/housekeeping/board").await), (200, "MISS"));
}

#[tokio::test]
async fn an_invalid_day_is_refused_without_an_upstream_call() {
    let fixture = Fixture::open().await;
    for (route, field) in [
        ("/inventory/calendar?from=x", "query.from"),
        ("/inventory/calendar?to=2026-13-01", "query.to"),
        ("/staff/shifts?date=tomorrow", "query.date"),
    ] {
        get(&fixture, route).await.invalid(field);
    }
    assert!(requests(&fixture).is_empty());
}
