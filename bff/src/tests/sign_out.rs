//! `POST /auth/sign-out`: the session ends, also while iam is unavailable.

use std::time::Duration;

use contracts::id::RequestId;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::tests::iam::{gateway, gateway_without};
use crate::tests::test_gateway::{Answer, TestGateway, fresh};

const SIGN_OUT: &str = "/api/bff/backoffice/v1/auth/sign-out";
const REFRESH: &str = "/api/bff/backoffice/v1/auth/refresh";
const SESSION: &str = "/api/bff/backoffice/v1/session";
const ENDED: &str = "MELMASTOON.BFF.SESSION_EXPIRED";

async fn sign_out(gateway: &TestGateway) -> Answer {
    gateway.post(SIGN_OUT, &Value::Null).await
}

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
    let answer = sign_out(&gateway).await;
    assert_eq!((answer.status.as_u16(), &answer.body), (204, &Value::Null));
    let requests = iam.requests();
    assert_eq!(requests[0].path, "/api/v1/auth/sign-out");
    assert_eq!(requests[0].body, json!({"sessionId": gateway.session}));
    assert_eq!(requests[0].request_id, answer.headers["x-request-id"].to_str().unwrap());
    let row = ("session".to_owned(), gateway.session.to_string(), "signed_out".to_owned());
    assert_eq!(revocations(&gateway).await, [row]);
    gateway.send(gateway.request(SESSION)).await.is_problem(401, ENDED);
    there.state.revocations.poll().await.unwrap();
    there.send(there.request(SESSION)).await.is_problem(401, ENDED);
    iam.grants(gateway.token(|_| {}));
    let proof = gateway.proof(REFRESH, "", |claims| claims["htm"] = json!("POST"));
    let request = http::Request::post(REFRESH)
        .header("dpop", proof)
        .header("x-device-id", gateway.device.as_str());
    let answer = gateway.send_json(request, &json!({"refreshToken": "the-first"})).await;
    answer.is_problem(401, ENDED);
}

#[tokio::test]
async fn a_sign_out_whose_answer_was_lost_can_be_repeated_on_every_instance() {
    let (gateway, iam) = gateway().await;
    let there = gateway.another();
    assert_eq!(sign_out(&gateway).await.status, 204);
    // Whether the other instance has heard of it or not.
    assert_eq!(sign_out(&there).await.status, 204);
    there.state.revocations.poll().await.unwrap();
    for instance in [&gateway, &there] {
        let again = sign_out(instance).await;
        assert_eq!((again.status.as_u16(), &again.body), (204, &Value::Null));
        instance.send(instance.request(SESSION)).await.is_problem(401, ENDED);
    }
    assert_eq!(iam.requests().len(), 1);
    assert_eq!(revocations(&gateway).await.len(), 1);
}

#[tokio::test]
async fn a_repeated_sign_out_is_proven_like_the_first() {
    let (gateway, _iam) = gateway().await;
    let token = gateway.token(|_| {});
    let proof = gateway.proof(SIGN_OUT, &token, |claims| claims["htm"] = json!("POST"));
    let request = || gateway.with(SIGN_OUT, &format!("DPoP {token}"), &proof).method("POST");
    assert_eq!(gateway.send(request()).await.status, 204);
    gateway.send(request()).await.is_problem(401, "MELMASTOON.BFF.DPOP_INVALID");
    let fresh = || gateway.proof(SIGN_OUT, &token, |claims| claims["htm"] = json!("POST"));
    let other = gateway.with(SIGN_OUT, &format!("DPoP {token}"), &fresh()).method("POST");
    let mut other = other;
    let device: contracts::id::DeviceId = crate::tests::test_gateway::fresh();
    other.headers_mut().unwrap().insert("x-device-id", device.as_str().parse().unwrap());
    gateway.send(other).await.is_problem(403, "MELMASTOON.BFF.DEVICE_MISMATCH");
}

#[tokio::test]
async fn a_sign_out_holds_while_iam_is_unavailable() {
    let alone = gateway_without().await;
    assert_eq!(sign_out(&alone).await.status, 204);
    alone.send(alone.request(SESSION)).await.is_problem(401, ENDED);
    let (gateway, iam) = gateway().await;
    iam.takes(Duration::from_secs(5));
    assert_eq!(sign_out(&gateway).await.status, 204);
    gateway.send(gateway.request(SESSION)).await.is_problem(401, ENDED);
}

#[tokio::test]
async fn without_the_durable_store_mutations_are_refused() {
    let (gateway, iam) = gateway().await;
    gateway.database.go_away().await;
    let answer = sign_out(&gateway).await;
    answer.is_problem(503, "MELMASTOON.BFF.STORE_UNAVAILABLE");
    assert_eq!(answer.headers["retry-after"], "5");
    assert!(iam.requests().is_empty());
    gateway.database.come_back().await;
    assert_eq!(gateway.send(gateway.request(SESSION)).await.status, 200);
    assert!(revocations(&gateway).await.is_empty());
}

#[tokio::test]
async fn a_token_without_a_session_ends_those_of_its_device() {
    let (gateway, iam) = gateway().await;
    let token = gateway.token(|claims| claims.sid = None);
    let proof = gateway.proof(SIGN_OUT, &token, |claims| claims["htm"] = json!("POST"));
    let request = gateway.with(SIGN_OUT, &format!("DPoP {token}"), &proof).method("POST");
    assert_eq!(gateway.send(request).await.status, 204);
    let row = ("device".to_owned(), gateway.device.to_string(), "signed_out".to_owned());
    assert_eq!(revocations(&gateway).await, [row]);
    assert!(iam.requests().is_empty());
    // The same token: one that is issued a second later is a new sign-in's.
    let proof = gateway.proof(SESSION, &token, |_| {});
    let answer = gateway.send(gateway.with(SESSION, &format!("DPoP {token}"), &proof)).await;
    answer.is_problem(401, ENDED);
}

#[tokio::test]
async fn a_later_sign_out_under_the_same_request_id_is_carried_out_too() {
    let (gateway, _iam) = gateway().await;
    let id: RequestId = fresh();
    for issued in [-60, 5] {
        let token = gateway.token(|claims| {
            claims.sid = None;
            claims.iat += issued;
        });
        let proof = gateway.proof(SIGN_OUT, &token, |claims| claims["htm"] = json!("POST"));
        let request = gateway.with(SIGN_OUT, &format!("DPoP {token}"), &proof).method("POST");
        let answer = gateway.send(request.header("x-request-id", id.as_str())).await;
        assert_eq!(answer.status, 204, "{}", answer.body);
    }
    assert_eq!(revocations(&gateway).await.len(), 2);
}

#[tokio::test]
async fn the_sessions_live_stream_gets_an_event_and_ends() {
    let (gateway, _iam) = gateway().await;
    let mut stream = gateway.stream().await;
    assert_eq!(sign_out(&gateway).await.status, 204);
    let mut text = String::new();
    let read = async {
        while let Some(frame) = stream.frame().await {
            text.push_str(std::str::from_utf8(frame.unwrap().data_ref().unwrap()).unwrap());
        }
    };
    timeout(Duration::from_secs(5), read).await.expect("the stream closes");
    let last = "event: session.force_logout\ndata: {\"reason\":\"signed_out\"}";
    assert!(text.contains(last), "{text}");
}
