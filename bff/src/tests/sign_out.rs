//! `POST /auth/sign-out`: the session ends, also while iam is unavailable.

use std::time::Duration;

use contracts::id::{DeviceId, RequestId};
use serde_json::{Value, json};

use crate::tests::iam::{gateway, gateway_without};
use crate::tests::streams;
use crate::tests::test_gateway::{TestGateway, fresh};

const SIGN_OUT: &str = "/api/bff/backoffice/v1/auth/sign-out";
const REFRESH: &str = "/api/bff/backoffice/v1/auth/refresh";
const SESSION: &str = "/api/bff/backoffice/v1/session";
const ENDED: &str = "MELMASTOON.BFF.SESSION_EXPIRED";

async fn revocations(gateway: &TestGateway) -> Vec<(String, String, String)> {
    let mut connection = gateway.state.database.connection().await.unwrap();
    let transaction = service_kit::postgres::read(&mut connection, gateway.tenant).await.unwrap();
    let sql = "SELECT kind, target_id, reason FROM bff.revocations WHERE tenant_id = $1";
    let rows = transaction.query(sql, &[&gateway.tenant.as_str()]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

#[tokio::test]
async fn afterwards_no_instance_takes_the_token_and_no_refresh_renews_it() {
    let (gateway, iam) = gateway().await;
    let there = gateway.another();
    let response = gateway.post(SIGN_OUT).await;
    assert_eq!((response.status.as_u16(), &response.body), (204, &Value::Null));
    let requests = iam.requests();
    assert_eq!(requests[0].path, "/api/v1/auth/sign-out");
    assert_eq!(requests[0].body, json!({"sessionId": gateway.session}));
    assert_eq!(requests[0].request_id, response.header("x-request-id"));
    let row = ("session".to_owned(), gateway.session.to_string(), "signed_out".to_owned());
    assert_eq!(revocations(&gateway).await, [row]);
    gateway.get(SESSION).await.problem(401, ENDED);
    there.state.revocations.poll().await.unwrap();
    there.get(SESSION).await.problem(401, ENDED);
    iam.grants(gateway.token(|_| {}));
    let refresh = gateway.post(REFRESH).proof_only().json(&json!({"refreshToken": "the-first"}));
    refresh.await.problem(401, ENDED);
}

#[tokio::test]
async fn a_sign_out_whose_answer_was_lost_can_be_repeated_on_every_instance() {
    let (gateway, iam) = gateway().await;
    let there = gateway.another();
    gateway.post(SIGN_OUT).await.status(204);
    // Whether the other instance has heard of it or not.
    there.post(SIGN_OUT).await.status(204);
    there.state.revocations.poll().await.unwrap();
    for instance in [&gateway, &there] {
        let again = instance.post(SIGN_OUT).await;
        assert_eq!((again.status.as_u16(), &again.body), (204, &Value::Null));
        instance.get(SESSION).await.problem(401, ENDED);
    }
    assert_eq!(iam.requests().len(), 1);
    assert_eq!(revocations(&gateway).await.len(), 1);
}

#[tokio::test]
async fn a_repeated_sign_out_is_proven_like_the_first() {
    let (gateway, _iam) = gateway().await;
    let token = gateway.token(|_| {});
    let proof = gateway.proof(SIGN_OUT, &token, |claims| claims["htm"] = json!("POST"));
    let first = || gateway.post(SIGN_OUT).token(&token).header("dpop", &proof);
    first().await.status(204);
    first().await.problem(401, "MELMASTOON.BFF.DPOP_INVALID");
    let other =
        gateway.post(SIGN_OUT).token(&token).header("x-device-id", fresh::<DeviceId>().as_str());
    other.await.problem(403, "MELMASTOON.BFF.DEVICE_MISMATCH");
}

#[tokio::test]
async fn a_sign_out_holds_while_iam_is_unavailable() {
    let alone = gateway_without().await;
    alone.post(SIGN_OUT).await.status(204);
    alone.get(SESSION).await.problem(401, ENDED);
    let (gateway, iam) = gateway().await;
    iam.takes(Duration::from_secs(5));
    gateway.post(SIGN_OUT).await.status(204);
    gateway.get(SESSION).await.problem(401, ENDED);
}

#[tokio::test]
async fn without_the_durable_store_mutations_are_refused() {
    let (gateway, iam) = gateway().await;
    gateway.database.go_away().await;
    let response = gateway.post(SIGN_OUT).await.problem(503, "MELMASTOON.BFF.STORE_UNAVAILABLE");
    assert_eq!(response.headers["retry-after"], "5");
    assert!(iam.requests().is_empty());
    gateway.database.come_back().await;
    gateway.get(SESSION).await.status(200);
    assert!(revocations(&gateway).await.is_empty());
}

#[tokio::test]
async fn a_token_without_a_session_ends_those_of_its_device() {
    let (gateway, iam) = gateway().await;
    let token = gateway.token(|claims| claims.sid = None);
    gateway.post(SIGN_OUT).token(&token).await.status(204);
    let row = ("device".to_owned(), gateway.device.to_string(), "signed_out".to_owned());
    assert_eq!(revocations(&gateway).await, [row]);
    assert!(iam.requests().is_empty());
    // The same token: one that is issued a second later is a new sign-in's.
    gateway.get(SESSION).token(&token).await.problem(401, ENDED);
}

#[tokio::test]
async fn a_later_sign_out_under_the_same_request_id_is_carried_out_too() {
    let (gateway, _iam) = gateway().await;
    let id: RequestId = fresh();
    for issued in [-60, 5] {
        let request = gateway.post(SIGN_OUT).claims(|claims| {
            claims.sid = None;
            claims.iat += issued;
        });
        request.header("x-request-id", id.as_str()).await.status(204);
    }
    assert_eq!(revocations(&gateway).await.len(), 2);
}

#[tokio::test]
async fn the_sessions_live_stream_gets_an_event_and_ends() {
    let (gateway, _iam) = gateway().await;
    let stream = gateway.stream().await;
    gateway.post(SIGN_OUT).await.status(204);
    let text = streams::rest(stream).await;
    let last = "event: session.force_logout\ndata: {\"reason\":\"signed_out\"}";
    assert!(text.contains(last), "{text}");
}
