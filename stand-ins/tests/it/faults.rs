//! Each kind of fault, seen from the other end of the socket.

use std::io::ErrorKind;
use std::time::Duration;

use contracts::upstream::Upstream;
use contracts::upstream::notification::Alerts;
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::world::{self, Desktop, World, encoded, password_form};

const ALERTS: &str = "GET /api/v1/alerts";

fn alerts_of(world: &World, slug: &str) -> String {
    let property = world.house.properties.iter().find(|property| property.slug == slug).unwrap();
    format!("/api/v1/alerts?propertyId={}", property.id)
}

/// A request written by hand, and everything that came back until the connection ended.
async fn raw(world: &World, slug: &str) -> (Vec<u8>, std::io::Result<usize>) {
    let mut socket =
        TcpStream::connect(world.running.upstreams[&Upstream::Notification]).await.unwrap();
    let token = world.request_token(Upstream::Notification, world.operator("frontdesk", slug));
    let path = alerts_of(world, slug);
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: {token}\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut received = Vec::new();
    let ended = socket.read_to_end(&mut received).await;
    (received, ended)
}

#[tokio::test]
async fn status_answers_in_place_of_the_handler_and_counts_down() {
    let world = world::start().await;
    let desk = world.operator("frontdesk", "kabul");
    let path = alerts_of(&world, "kabul");
    world
        .fail(json!({"upstream": "notification", "kind": "status", "status": 500, "times": 2}))
        .await;
    for _ in 0..2 {
        let answer = world.get(Upstream::Notification, &path, desk).await;
        assert_eq!(answer.status(), 500);
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["code"], "MELMASTOON.STAND_INS.INJECTED");
    }
    assert_eq!(world.get(Upstream::Notification, &path, desk).await.status(), 200);
    assert!(world.listed("faults", Upstream::Notification).await.is_empty());
    let counted = world.listed("requests", Upstream::Notification).await;
    assert_eq!(counted[0]["route"], ALERTS);
    assert_eq!(counted[0]["count"], 3);
}

#[tokio::test]
async fn latency_may_be_later_than_the_deadline() {
    let world = world::start().await;
    let desk = world.operator("frontdesk", "kabul");
    world.fail(json!({"upstream": "notification", "kind": "latency", "ms": 300})).await;
    let started = Instant::now();
    let answer = world
        .http
        .get(world.url(Upstream::Notification, &alerts_of(&world, "kabul")))
        .header("authorization", world.request_token(Upstream::Notification, desk))
        .header("x-deadline-ms", "100")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    assert!(started.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn hang_never_answers_and_leaves_other_routes_and_health_alone() {
    let world = world::start().await;
    world.fail(json!({"upstream": "notification", "kind": "hang", "route": ALERTS})).await;
    let hung = timeout(Duration::from_millis(400), raw(&world, "kabul")).await;
    assert!(hung.is_err(), "it answered {hung:?}");
    let live = world.http.get(world.url(Upstream::Notification, "/health/live")).send().await;
    assert_eq!(live.unwrap().status(), 200);
    let desk = world.operator("frontdesk", "kabul");
    assert_eq!(world.get(Upstream::Notification, "/else", desk).await.status(), 501);
}

#[tokio::test]
async fn refuse_closes_the_port_and_clearing_opens_the_same_one() {
    let world = world::start().await;
    let desk = world.operator("frontdesk", "kabul");
    let path = alerts_of(&world, "kabul");
    let at = world.running.upstreams[&Upstream::Notification];
    // A connection that stays open in the client's pool must not outlive the port.
    assert_eq!(world.get(Upstream::Notification, &path, desk).await.status(), 200);
    for _ in 0..3 {
        world.fail(json!({"upstream": "notification", "kind": "refuse"})).await;
        let refused = TcpStream::connect(at).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        assert!(world.try_get(Upstream::Notification, &path, desk).await.is_err());
        world.heal().await;
        assert_eq!(world.get(Upstream::Notification, &path, desk).await.status(), 200);
    }
}

#[tokio::test]
async fn reset_breaks_the_connection_with_an_rst() {
    let world = world::start().await;
    world.fail(json!({"upstream": "notification", "kind": "reset"})).await;
    let (received, ended) = raw(&world, "kabul").await;
    assert!(received.is_empty());
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn half_body_promises_more_than_it_sends() {
    let world = world::start().await;
    let desk = world.operator("frontdesk", "kabul");
    world.fail(json!({"upstream": "notification", "kind": "half_body"})).await;
    let answer = world.get(Upstream::Notification, &alerts_of(&world, "kabul"), desk).await;
    let promised = answer.content_length().unwrap();
    assert!(answer.bytes().await.is_err(), "the body was whole");
    let (received, _) = raw(&world, "kabul").await;
    let body = received.windows(4).position(|at| at == b"\r\n\r\n").unwrap() + 4;
    assert_eq!((received.len() - body) as u64, promised / 2);
}

#[tokio::test]
async fn huge_body_sends_a_hundred_megabytes() {
    let world = world::start().await;
    let desk = world.operator("frontdesk", "kabul");
    world.fail(json!({"upstream": "notification", "kind": "huge_body"})).await;
    let answer = world.get(Upstream::Notification, &alerts_of(&world, "kabul"), desk).await;
    let mut size = 0;
    let mut pieces = answer.bytes_stream();
    while size < 20 * 1024 * 1024 {
        size += pieces.next().await.expect("it ended early").unwrap().len();
    }
}

#[tokio::test]
async fn drip_sends_a_byte_a_second() {
    let world = world::start().await;
    let desk = world.operator("frontdesk", "kabul");
    world.fail(json!({"upstream": "notification", "kind": "drip"})).await;
    let started = Instant::now();
    let answer = world.get(Upstream::Notification, &alerts_of(&world, "kabul"), desk).await;
    let first = answer.bytes_stream().next().await.unwrap().unwrap();
    assert_eq!(&first[..], b"{");
    assert!(started.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn drift_breaks_the_contract_and_nothing_else() {
    let world = world::start().await;
    let desk = world.operator("frontdesk", "kabul");
    let path = alerts_of(&world, "kabul");
    let answer = world.get(Upstream::Notification, &path, desk).await;
    assert!(serde_json::from_slice::<Alerts>(&answer.bytes().await.unwrap()).is_ok());
    world.fail(json!({"upstream": "notification", "kind": "drift"})).await;
    let answer = world.get(Upstream::Notification, &path, desk).await;
    assert_eq!((answer.status().as_u16(), answer.content_length().is_some()), (200, true));
    let body = answer.bytes().await.unwrap();
    assert!(serde_json::from_slice::<Value>(&body).is_ok(), "drift is still JSON");
    assert!(serde_json::from_slice::<Alerts>(&body).is_err(), "the contract still holds");
}

#[tokio::test]
async fn lost_answer_has_its_effect_and_no_answer() {
    let world = world::start().await;
    let desk = world.operator("frontdesk", "kabul");
    world.fail(json!({"upstream": "iam", "kind": "lost_answer", "times": 1})).await;
    let (desktop, form) = (Desktop::new(), password_form(desk));
    let lost = world
        .http
        .post(world.url(Upstream::Iam, "/oauth2/token"))
        .header("dpop", desktop.proof(&world))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(encoded(&form))
        .send()
        .await;
    assert!(lost.is_err(), "an answer came");
    assert_eq!(world.listed("effects", Upstream::Iam).await.len(), 1);
    world.sign_in(desk, &desktop).await;
    let effects = world.listed("effects", Upstream::Iam).await;
    assert_eq!(effects.len(), 2);
    assert_eq!(effects[1]["action"], "session.opened");
    assert_eq!(effects[1]["tenantId"], desk.tenant_id.as_str());
}

#[tokio::test]
async fn a_fault_for_one_tenant_or_route_spares_the_others() {
    let world = world::start().await;
    let (kabul, shiraz) =
        (world.operator("frontdesk", "kabul"), world.operator("frontdesk", "shiraz"));
    world
        .fail(json!({
            "upstream": "notification", "kind": "status", "tenantId": kabul.tenant_id, "route": ALERTS,
        }))
        .await;
    let (ours, theirs) = (alerts_of(&world, "kabul"), alerts_of(&world, "shiraz"));
    assert_eq!(world.get(Upstream::Notification, &ours, kabul).await.status(), 503);
    assert_eq!(world.get(Upstream::Notification, &theirs, shiraz).await.status(), 200);
    assert_eq!(world.get(Upstream::Notification, "/else", kabul).await.status(), 501);
}

#[tokio::test]
async fn faults_are_applied_in_the_order_they_were_set() {
    let world = world::start().await;
    let desk = world.operator("frontdesk", "kabul");
    let path = alerts_of(&world, "kabul");
    for status in [500, 502, 429] {
        world
            .fail(
                json!({"upstream": "notification", "kind": "status", "status": status, "times": 1}),
            )
            .await;
    }
    for status in [500, 502, 429, 200] {
        assert_eq!(world.get(Upstream::Notification, &path, desk).await.status(), status);
    }
}
