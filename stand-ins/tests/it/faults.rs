//! Each kind of fault, as the client sees it.

use std::io::ErrorKind;
use std::time::Duration;

use contracts::upstream::Upstream;
use contracts::upstream::notification::Alerts;
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::platform::{self, Desktop, TestPlatform, encoded, password_form};

const ALERTS_ROUTE: &str = "GET /api/v1/alerts";

fn alerts_of(platform: &TestPlatform, slug: &str) -> String {
    let property = platform.demo.properties.iter().find(|property| property.slug == slug).unwrap();
    format!("/api/v1/alerts?propertyId={}", property.id)
}

/// Sends a raw request and reads everything until the connection ends.
async fn raw(platform: &TestPlatform, slug: &str) -> (Vec<u8>, std::io::Result<usize>) {
    let mut socket =
        TcpStream::connect(platform.running.upstreams[&Upstream::Notification]).await.unwrap();
    let token =
        platform.request_token(Upstream::Notification, platform.operator("frontdesk", slug));
    let path = alerts_of(platform, slug);
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: {token}\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut received = Vec::new();
    let ended = socket.read_to_end(&mut received).await;
    (received, ended)
}

#[tokio::test]
async fn status_answers_in_place_of_the_handler_and_counts_down() {
    let platform = platform::start().await;
    let operator = platform.operator("frontdesk", "kabul");
    let path = alerts_of(&platform, "kabul");
    platform
        .fail(json!({"upstream": "notification", "kind": "status", "status": 500, "times": 2}))
        .await;
    for _ in 0..2 {
        let response = platform.get(Upstream::Notification, &path, operator).await;
        assert_eq!(response.status(), 500);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        let problem: Value = response.json().await.unwrap();
        assert_eq!(problem["code"], "MELMASTOON.STAND_INS.INJECTED");
    }
    assert_eq!(platform.get(Upstream::Notification, &path, operator).await.status(), 200);
    assert!(platform.listed("faults", Upstream::Notification).await.is_empty());
    let counted = platform.listed("requests", Upstream::Notification).await;
    assert_eq!(counted[0]["route"], ALERTS_ROUTE);
    assert_eq!(counted[0]["count"], 3);
}

#[tokio::test]
async fn latency_may_be_later_than_the_deadline() {
    let platform = platform::start().await;
    let operator = platform.operator("frontdesk", "kabul");
    platform.fail(json!({"upstream": "notification", "kind": "latency", "ms": 300})).await;
    let started = Instant::now();
    let response = platform
        .http
        .get(platform.url(Upstream::Notification, &alerts_of(&platform, "kabul")))
        .header("authorization", platform.request_token(Upstream::Notification, operator))
        .header("x-deadline-ms", "100")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    assert!(started.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn hang_never_answers_and_leaves_other_routes_and_health_alone() {
    let platform = platform::start().await;
    platform.fail(json!({"upstream": "notification", "kind": "hang", "route": ALERTS_ROUTE})).await;
    let hung = timeout(Duration::from_millis(400), raw(&platform, "kabul")).await;
    assert!(hung.is_err(), "it answered {hung:?}");
    let live = platform.http.get(platform.url(Upstream::Notification, "/health/live")).send().await;
    assert_eq!(live.unwrap().status(), 200);
    let operator = platform.operator("frontdesk", "kabul");
    assert_eq!(platform.get(Upstream::Notification, "/else", operator).await.status(), 501);
}

#[tokio::test]
async fn refuse_closes_the_port_and_clearing_opens_the_same_one() {
    let platform = platform::start().await;
    let operator = platform.operator("frontdesk", "kabul");
    let path = alerts_of(&platform, "kabul");
    let at = platform.running.upstreams[&Upstream::Notification];
    // A connection that stays open in the client's pool must not outlive the port.
    assert_eq!(platform.get(Upstream::Notification, &path, operator).await.status(), 200);
    for _ in 0..3 {
        platform.fail(json!({"upstream": "notification", "kind": "refuse"})).await;
        let refused = TcpStream::connect(at).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        assert!(platform.try_get(Upstream::Notification, &path, operator).await.is_err());
        platform.heal().await;
        assert_eq!(platform.get(Upstream::Notification, &path, operator).await.status(), 200);
    }
}

#[tokio::test]
async fn reset_breaks_the_connection_with_an_rst() {
    let platform = platform::start().await;
    platform.fail(json!({"upstream": "notification", "kind": "reset"})).await;
    let (received, ended) = raw(&platform, "kabul").await;
    assert!(received.is_empty());
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn half_body_promises_more_than_it_sends() {
    let platform = platform::start().await;
    let operator = platform.operator("frontdesk", "kabul");
    platform.fail(json!({"upstream": "notification", "kind": "half_body"})).await;
    let response =
        platform.get(Upstream::Notification, &alerts_of(&platform, "kabul"), operator).await;
    let promised = response.content_length().unwrap();
    assert!(response.bytes().await.is_err(), "the body was whole");
    let (received, _) = raw(&platform, "kabul").await;
    let body = received.windows(4).position(|at| at == b"\r\n\r\n").unwrap() + 4;
    assert_eq!((received.len() - body) as u64, promised / 2);
}

#[tokio::test]
async fn huge_body_sends_a_hundred_megabytes() {
    let platform = platform::start().await;
    let operator = platform.operator("frontdesk", "kabul");
    platform.fail(json!({"upstream": "notification", "kind": "huge_body"})).await;
    let response =
        platform.get(Upstream::Notification, &alerts_of(&platform, "kabul"), operator).await;
    let mut size = 0;
    let mut pieces = response.bytes_stream();
    while size < 20 * 1024 * 1024 {
        size += pieces.next().await.expect("it ended early").unwrap().len();
    }
}

#[tokio::test]
async fn drip_sends_a_byte_a_second() {
    let platform = platform::start().await;
    let operator = platform.operator("frontdesk", "kabul");
    platform.fail(json!({"upstream": "notification", "kind": "drip"})).await;
    let started = Instant::now();
    let response =
        platform.get(Upstream::Notification, &alerts_of(&platform, "kabul"), operator).await;
    let first = response.bytes_stream().next().await.unwrap().unwrap();
    assert_eq!(&first[..], b"{");
    assert!(started.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn drift_breaks_the_contract_and_nothing_else() {
    let platform = platform::start().await;
    let operator = platform.operator("frontdesk", "kabul");
    let path = alerts_of(&platform, "kabul");
    let response = platform.get(Upstream::Notification, &path, operator).await;
    assert!(serde_json::from_slice::<Alerts>(&response.bytes().await.unwrap()).is_ok());
    platform.fail(json!({"upstream": "notification", "kind": "drift"})).await;
    let response = platform.get(Upstream::Notification, &path, operator).await;
    assert_eq!((response.status().as_u16(), response.content_length().is_some()), (200, true));
    let body = response.bytes().await.unwrap();
    assert!(serde_json::from_slice::<Value>(&body).is_ok(), "drift is still JSON");
    assert!(serde_json::from_slice::<Alerts>(&body).is_err(), "the contract still holds");
}

#[tokio::test]
async fn lost_answer_takes_effect_without_a_response() {
    let platform = platform::start().await;
    let operator = platform.operator("frontdesk", "kabul");
    platform.fail(json!({"upstream": "iam", "kind": "lost_answer", "times": 1})).await;
    let (desktop, form) = (Desktop::new(), password_form(operator));
    let lost = platform
        .http
        .post(platform.url(Upstream::Iam, "/oauth2/token"))
        .header("dpop", desktop.proof(&platform))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(encoded(&form))
        .send()
        .await;
    assert!(lost.is_err(), "a response came");
    assert_eq!(platform.listed("effects", Upstream::Iam).await.len(), 1);
    platform.sign_in(operator, &desktop).await;
    let effects = platform.listed("effects", Upstream::Iam).await;
    assert_eq!(effects.len(), 2);
    assert_eq!(effects[1]["action"], "session.opened");
    assert_eq!(effects[1]["tenantId"], operator.tenant_id.as_str());
}

#[tokio::test]
async fn a_fault_for_one_tenant_or_route_spares_the_others() {
    let platform = platform::start().await;
    let (kabul, shiraz) =
        (platform.operator("frontdesk", "kabul"), platform.operator("frontdesk", "shiraz"));
    platform
        .fail(json!({
            "upstream": "notification", "kind": "status", "tenantId": kabul.tenant_id, "route": ALERTS_ROUTE,
        }))
        .await;
    let (ours, theirs) = (alerts_of(&platform, "kabul"), alerts_of(&platform, "shiraz"));
    assert_eq!(platform.get(Upstream::Notification, &ours, kabul).await.status(), 503);
    assert_eq!(platform.get(Upstream::Notification, &theirs, shiraz).await.status(), 200);
    assert_eq!(platform.get(Upstream::Notification, "/else", kabul).await.status(), 501);
}

#[tokio::test]
async fn faults_are_applied_in_the_order_they_were_set() {
    let platform = platform::start().await;
    let operator = platform.operator("frontdesk", "kabul");
    let path = alerts_of(&platform, "kabul");
    for status in [500, 502, 429] {
        platform
            .fail(
                json!({"upstream": "notification", "kind": "status", "status": status, "times": 1}),
            )
            .await;
    }
    for status in [500, 502, 429, 200] {
        assert_eq!(platform.get(Upstream::Notification, &path, operator).await.status(), status);
    }
}
