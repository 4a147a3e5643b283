use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use service_kit::testing::fixtures::{PROPERTY, TENANT, operator};
use service_kit::testing::issuer::{EVENTS, OPERATOR, SCHEDULER};

use crate::tests::Fixture;

const EVENTS_PATH: &str = "/internal/events";

fn push(event: &Value) -> Value {
    json!({"message": {"data": STANDARD.encode(event.to_string()), "messageId": "1"},
           "subscription": "projects/p/subscriptions/housekeeping"})
}

fn event() -> Value {
    json!({
        "specversion": "1.0", "id": "evt_01K0000000000000000000000A",
        "source": "/services/reservation-service",
        "type": "melmastoon.reservation.reservation.checked_out.v1",
        "subject": "rsv_01K0000000000000000000000A", "time": "2026-11-21T20:00:00.000Z",
        "datacontenttype": "application/json", "tenantid": TENANT,
        "orderingkey": "a:b", "correlationid": "c", "actortype": "user", "actorid": "d",
        "retentionclass": "operational", "data": {},
    })
}

#[tokio::test]
async fn an_unhandled_event_is_acknowledged() {
    let Fixture { harness, database: _database } = Fixture::new().await;
    for _ in 0..2 {
        let response = harness.post(EVENTS_PATH, &push(&event())).by_account(EVENTS).send().await;
        assert_eq!((response.status.as_u16(), response.body), (204, Value::Null));
    }
}

#[tokio::test]
async fn only_the_event_bus_may_push() {
    let Fixture { harness, database: _database } = Fixture::new().await;
    let body = push(&event());
    let bare = harness.post(EVENTS_PATH, &body).send().await;
    bare.assert_problem(401, "GENERAL.UNAUTHENTICATED");
    assert_eq!(bare.header("www-authenticate"), "Bearer");
    // The gateway's own token is of no use here.
    let gateway = harness.post(EVENTS_PATH, &body).by(&operator(TENANT, &[PROPERTY])).send().await;
    gateway.assert_problem(401, "GENERAL.UNAUTHENTICATED");
    for account in [SCHEDULER, OPERATOR, "stranger@platform.test"] {
        let response = harness.post(EVENTS_PATH, &body).by_account(account).send().await;
        response.assert_problem(403, "GENERAL.FORBIDDEN");
    }
}

#[tokio::test]
async fn an_invalid_event_is_refused() {
    let Fixture { harness, database: _database } = Fixture::new().await;
    let missing = json!({"message": {}});
    for body in [push(&json!({"id": 1})), json!({"message": {"data": "%"}}), missing] {
        let response = harness.post(EVENTS_PATH, &body).by_account(EVENTS).send().await;
        response.assert_problem(400, "GENERAL.VALIDATION_FAILED");
    }
}

#[tokio::test]
async fn paths_that_lead_nowhere_are_closed_too() {
    let Fixture { harness, database: _database } = Fixture::new().await;
    for path in ["/internal/nothing", "/internal/jobs/nothing", "/internal"] {
        harness.post(path, &json!({})).send().await.assert_problem(401, "GENERAL.UNAUTHENTICATED");
        let response = harness.post(path, &json!({})).by_account(EVENTS).send().await;
        response.assert_problem(403, "GENERAL.FORBIDDEN");
        let response = harness.post(path, &json!({})).by_account(OPERATOR).send().await;
        response.assert_problem(404, "GENERAL.RESOURCE_NOT_FOUND");
    }
}

#[tokio::test]
async fn an_event_is_not_refused_for_what_nothing_reads() {
    let Fixture { harness, database: _database } = Fixture::new().await;
    for json in [r#""\ud83d""#, r#""\u0000""#, "null", "1e999", r#"{"a":1,"a":2}"#] {
        let mut event = event();
        event["source"] = json!("ANYTHING");
        let data = STANDARD.encode(event.to_string().replace("\"ANYTHING\"", json));
        let attributes = format!(r#"{{"a":{json},"a":{json}}}"#);
        let text = format!(r#"{{"message":{{"attributes":{attributes},"data":"{data}"}}}}"#);
        let answer = harness.post_text(EVENTS_PATH, &text).by_account(EVENTS).send().await;
        assert_eq!(answer.status, 204, "{json} {}", answer.body);
    }
}
