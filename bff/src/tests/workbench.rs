//! `/today`, `/arrivals`, `/departures` and `/in-house`: stays are required, other columns may be
//! missing.

use serde_json::json;

use crate::tests::answers::ReadFixture;
use crate::tests::response::TestResponse;

const VIEWS: [&str; 4] = ["/today", "/arrivals", "/departures", "/in-house"];

#[tokio::test]
async fn each_view_is_complete_and_the_second_read_makes_no_call() {
    for view in VIEWS {
        let fixture = ReadFixture::open().await;
        let first = fixture.get(view).await.status(200);
        assert_eq!(first.header("x-cache"), "MISS");
        assert!(first.body["id"].as_str().unwrap().starts_with("wbv_"), "{}", first.body);
        assert_eq!(
            (&first.body["date"], &first.body["partial"]),
            (&json!("2026-11-21"), &json!(false))
        );
        let timings = first.header("server-timing");
        for upstream in ["reservation", "housekeeping", "billing", "lock"] {
            assert!(timings.contains(&format!("{upstream};dur=")), "{timings}");
        }
        let requests = fixture.requests("/");
        let second = fixture.get(view).await;
        assert_eq!((second.header("x-cache"), fixture.requests("/")), ("HIT", requests));
        fixture.get(view).holding(first.header("etag")).await.status(304);
    }
}

#[tokio::test]
async fn a_stay_comes_with_its_room_its_balance_and_its_keys() {
    let fixture = ReadFixture::open().await;
    let row = fixture.get("/arrivals").await.body["items"][0].clone();
    assert_eq!((&row["code"], &row["roomStatus"]), (&json!("GM-1"), &json!("ready")));
    assert_eq!((&row["balance"]["amountMicro"], &row["keys"]), (&json!("5000000"), &json!([])));
    assert_eq!(row["eta"], "2026-11-21T09:30:00.000Z");
    let today = fixture.get("/today").await.body;
    assert_eq!(
        today["counts"],
        json!({"arrivals": 1, "arrived": 0, "departures": 1, "departed": 1, "inHouse": 1})
    );
    assert_eq!(today["inHouse"][0]["state"], "in_house");
}

#[tokio::test]
async fn the_dashboard_and_the_workbench_share_cached_reads() {
    let fixture = ReadFixture::open().await;
    fixture.get("/dashboard?widgets=arrivals,departures,inHouse,roomStatus").await;
    fixture.get("/today").await;
    fixture.get("/arrivals").await;
    assert_eq!(
        (fixture.requests("/api/v1/reservations"), fixture.requests("/api/v1/housekeeping")),
        (3, 1)
    );
    fixture.get("/arrivals?date=2026-11-25").await;
    assert_eq!(fixture.requests("/api/v1/reservations/arrivals"), 2);
}

#[tokio::test]
async fn an_optional_upstream_that_is_unavailable_costs_its_column_and_the_view_says_so() {
    for (path, column) in [
        ("/api/v1/housekeeping", "roomStatus"),
        ("/api/v1/billing", "balance"),
        ("/api/v1/locks", "keys"),
    ] {
        let fixture = ReadFixture::open().await;
        fixture.is_away(path, 500);
        let response = fixture.get("/arrivals").await;
        assert_eq!((response.status.as_u16(), &response.body["partial"]), (200, &json!(true)));
        let part = &response.body["columns"][column];
        assert_eq!(
            (&part["status"], &part["reason"]),
            (&json!("unavailable"), &json!("UPSTREAM_ERROR"))
        );
        assert!(response.body["items"][0].get(column).is_none(), "{}", response.body);
    }
}

#[tokio::test]
async fn without_reservation_a_view_is_stale_and_then_unavailable() {
    for view in VIEWS {
        let fixture = ReadFixture::open().await;
        fixture.get(view).await;
        fixture.is_away("/api/v1/reservations", 500);
        fixture.pass(60);
        let stale = fixture.get(view).await.status(200);
        assert_eq!(stale.header("x-cache"), "STALE");
        assert_eq!(
            (&stale.body["stays"]["status"], &stale.body["partial"]),
            (&json!("stale"), &json!(true))
        );
        fixture.pass(600);
        fixture.get(view).await.problem(502, "MELMASTOON.BFF.UPSTREAM_UNAVAILABLE");
    }
}

#[tokio::test]
async fn balances_and_keys_are_not_fetched_for_roles_that_may_not_see_them() {
    let fixture = ReadFixture::open().await;
    let response = fixture.get("/arrivals").role("housekeeping").await;
    assert_eq!((response.status.as_u16(), &response.body["partial"]), (200, &json!(false)));
    for column in ["balance", "keys"] {
        assert_eq!(response.body["columns"][column]["status"], "forbidden");
    }
    assert_eq!((fixture.requests("/api/v1/billing"), fixture.requests("/api/v1/locks")), (0, 0));
}

/// Kabul's midnight is at 19:30 UTC.
async fn shortly_before_midnight() -> ReadFixture {
    let fixture = ReadFixture::open().await;
    fixture.pass(11 * 3600 + 29 * 60 + 20);
    assert_eq!(fixture.get("/staff/shifts").await.body["timeZone"], "Asia/Kabul");
    fixture
}

fn cache(response: &TestResponse) -> (u16, &str) {
    (response.status.as_u16(), response.header("x-cache"))
}

#[tokio::test]
async fn today_ends_with_the_propertys_day_however_fresh_it_is() {
    for view in VIEWS {
        let fixture = shortly_before_midnight().await;
        assert_eq!(cache(&fixture.get(view).await), (200, "MISS"));
        assert_eq!(cache(&fixture.get(view).await), (200, "HIT"));
        fixture.pass(14);
        assert_eq!(cache(&fixture.get(view).await), (200, "MISS"), "{view} is of yesterday");
    }
}

#[tokio::test]
async fn yesterday_is_not_shown_as_today_while_reservation_is_unavailable() {
    for view in VIEWS {
        let fixture = shortly_before_midnight().await;
        let named = format!("{view}?date=2026-11-22");
        fixture.get(view).await;
        fixture.get(&named).await;
        fixture.is_away("/api/v1/reservations", 500);
        fixture.pass(60);
        fixture.get(view).await.problem(502, "MELMASTOON.BFF.UPSTREAM_UNAVAILABLE");
        assert_eq!(cache(&fixture.get(&named).await), (200, "STALE"));
    }
}
