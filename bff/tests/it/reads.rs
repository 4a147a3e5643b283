//! Reads that one upstream answers: `/arrivals` and `/inventory/availability`.

use contracts::clock::{Clock, Entropy};
use contracts::id::{Id, PropertyId};

use crate::desk::{BASE, Desk};
use crate::platform::{Command, refusal};

fn paths(desk: &Desk) -> [String; 2] {
    let property = desk.house.property;
    [
        format!("{BASE}/arrivals?propertyId={property}&date=2026-11-22"),
        format!(
            "{BASE}/inventory/availability?propertyId={property}&from=2026-11-22&to=2026-11-24"
        ),
    ]
}

#[tokio::test]
async fn a_read_asks_its_upstream_for_what_was_asked_and_passes_the_answer_on() {
    let desk = Desk::open().await;
    let [arrivals, availability] = paths(&desk);
    let answer = desk.house.send(desk.house.request(&arrivals)).await;
    assert_eq!((answer.status.as_u16(), &answer.body["date"]), (200, &"2026-11-22".into()));
    let answer = desk.house.send(desk.house.request(&availability)).await;
    assert_eq!((answer.status.as_u16(), &answer.body["to"]), (200, &"2026-11-24".into()));
    let property = desk.house.property;
    let targets: Vec<_> = desk.platform.seen().into_iter().map(|seen| seen.target).collect();
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
async fn the_days_may_be_left_out_and_what_the_desk_holds_is_not_sent_again() {
    let desk = Desk::open().await;
    let property = desk.house.property;
    for path in ["arrivals", "inventory/availability"] {
        let path = format!("{BASE}/{path}?propertyId={property}");
        let answer = desk.house.send(desk.house.request(&path)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let held = desk.house.request(&path).header("if-none-match", &answer.headers["etag"]);
        assert_eq!(desk.house.send(held).await.status, 304);
    }
    assert!(desk.platform.seen().iter().all(|seen| !seen.target.contains("2026")));
}

#[tokio::test]
async fn a_day_that_is_none_is_named_and_nobody_is_asked() {
    let desk = Desk::open().await;
    for (path, field) in [
        ("arrivals?date=tomorrow", "query.date"),
        ("inventory/availability?from=2026-13-01", "query.from"),
        ("inventory/availability?to=x", "query.to"),
    ] {
        let path = format!("{BASE}/{path}&propertyId={}", desk.house.property);
        let answer = desk.house.send(desk.house.request(&path)).await;
        answer.is_problem(400, "MELMASTOON.GENERAL.VALIDATION_FAILED");
        assert_eq!(answer.body["errors"][0]["field"], field);
    }
    assert!(desk.platform.seen().is_empty());
}

#[tokio::test]
async fn without_its_upstream_a_read_says_which_way_it_failed() {
    let desk = Desk::open().await;
    for path in paths(&desk) {
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
            desk.platform.command(command);
            desk.house.send(desk.house.request(&path)).await.is_problem(status, code);
        }
    }
}

#[tokio::test]
async fn a_property_out_of_scope_is_never_asked_for() {
    let desk = Desk::open().await;
    let other = PropertyId::generate(&Clock::system(), &Entropy::system());
    for path in paths(&desk) {
        let path = path.replace(desk.house.property.as_str(), other.as_str());
        let answer = desk.house.send(desk.house.request(&path)).await;
        answer.is_problem(403, "MELMASTOON.BFF.PROPERTY_OUT_OF_SCOPE");
    }
    assert!(desk.platform.seen().is_empty());
}
