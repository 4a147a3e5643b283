//! `POST /auth/sign-out`: the session is over here, whether iam hears of it or not.

use std::time::Duration;

use contracts::id::RequestId;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::house::{Answer, House, fresh};
use crate::iam::{house, house_without};

const SIGN_OUT: &str = "/api/bff/backoffice/v1/auth/sign-out";
const REFRESH: &str = "/api/bff/backoffice/v1/auth/refresh";
const SESSION: &str = "/api/bff/backoffice/v1/session";
const ENDED: &str = "MELMASTOON.BFF.SESSION_EXPIRED";

async fn sign_out(house: &House) -> Answer {
    house.post(SIGN_OUT, &Value::Null).await
}

async fn revocations(house: &House) -> Vec<(String, String, String)> {
    let mut connection = house.gateway.database.connection().await.unwrap();
    let transaction = service_kit::postgres::read(&mut connection, house.tenant).await.unwrap();
    let sql = "SELECT kind, target_id, reason FROM bff.revocations WHERE tenant_id = $1";
    let rows = transaction.query(sql, &[&house.tenant.as_str()]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

#[tokio::test]
async fn afterwards_no_instance_takes_the_token_and_no_refresh_renews_it() {
    let (house, iam) = house().await;
    let there = house.another();
    let answer = sign_out(&house).await;
    assert_eq!((answer.status.as_u16(), &answer.body), (204, &Value::Null));
    let asked = iam.asked();
    assert_eq!(asked[0].path, "/api/v1/auth/sign-out");
    assert_eq!(asked[0].body, json!({"sessionId": house.session}));
    assert_eq!(asked[0].request_id, answer.headers["x-request-id"].to_str().unwrap());
    let row = ("session".to_owned(), house.session.to_string(), "signed_out".to_owned());
    assert_eq!(revocations(&house).await, [row]);
    house.send(house.request(SESSION)).await.is_problem(401, ENDED);
    there.gateway.revocations.catch_up().await.unwrap();
    there.send(there.request(SESSION)).await.is_problem(401, ENDED);
    iam.grants(house.token(|_| {}));
    let proof = house.proof(REFRESH, "", |claims| claims["htm"] = json!("POST"));
    let request = http::Request::post(REFRESH)
        .header("dpop", proof)
        .header("x-device-id", house.device.as_str());
    let answer = house.send_json(request, &json!({"refreshToken": "the-first"})).await;
    answer.is_problem(401, ENDED);
}

#[tokio::test]
async fn a_sign_out_whose_answer_was_lost_can_be_repeated_on_every_instance() {
    let (house, iam) = house().await;
    let there = house.another();
    assert_eq!(sign_out(&house).await.status, 204);
    // Whether the other instance has heard of it or not.
    assert_eq!(sign_out(&there).await.status, 204);
    there.gateway.revocations.catch_up().await.unwrap();
    for instance in [&house, &there] {
        let again = sign_out(instance).await;
        assert_eq!((again.status.as_u16(), &again.body), (204, &Value::Null));
        instance.send(instance.request(SESSION)).await.is_problem(401, ENDED);
    }
    assert_eq!(iam.asked().len(), 1);
    assert_eq!(revocations(&house).await.len(), 1);
}

#[tokio::test]
async fn a_repeated_sign_out_is_proven_like_the_first() {
    let (house, _iam) = house().await;
    let token = house.token(|_| {});
    let proof = house.proof(SIGN_OUT, &token, |claims| claims["htm"] = json!("POST"));
    let request = || house.with(SIGN_OUT, &format!("DPoP {token}"), &proof).method("POST");
    assert_eq!(house.send(request()).await.status, 204);
    house.send(request()).await.is_problem(401, "MELMASTOON.BFF.DPOP_INVALID");
    let fresh = || house.proof(SIGN_OUT, &token, |claims| claims["htm"] = json!("POST"));
    let other = house.with(SIGN_OUT, &format!("DPoP {token}"), &fresh()).method("POST");
    let mut other = other;
    let device: contracts::id::DeviceId = crate::house::fresh();
    other.headers_mut().unwrap().insert("x-device-id", device.as_str().parse().unwrap());
    house.send(other).await.is_problem(403, "MELMASTOON.BFF.DEVICE_MISMATCH");
}

#[tokio::test]
async fn it_holds_while_iam_is_away() {
    let alone = house_without().await;
    assert_eq!(sign_out(&alone).await.status, 204);
    alone.send(alone.request(SESSION)).await.is_problem(401, ENDED);
    let (house, iam) = house().await;
    iam.takes(Duration::from_secs(5));
    assert_eq!(sign_out(&house).await.status, 204);
    house.send(house.request(SESSION)).await.is_problem(401, ENDED);
}

#[tokio::test]
async fn while_the_durable_store_is_away_nothing_is_done() {
    let (house, iam) = house().await;
    house.database.go_away().await;
    let answer = sign_out(&house).await;
    answer.is_problem(503, "MELMASTOON.BFF.STORE_UNAVAILABLE");
    assert_eq!(answer.headers["retry-after"], "5");
    assert!(iam.asked().is_empty());
    house.database.come_back().await;
    assert_eq!(house.send(house.request(SESSION)).await.status, 200);
    assert!(revocations(&house).await.is_empty());
}

#[tokio::test]
async fn a_token_without_a_session_ends_those_of_its_device() {
    let (house, iam) = house().await;
    let token = house.token(|claims| claims.sid = None);
    let proof = house.proof(SIGN_OUT, &token, |claims| claims["htm"] = json!("POST"));
    let request = house.with(SIGN_OUT, &format!("DPoP {token}"), &proof).method("POST");
    assert_eq!(house.send(request).await.status, 204);
    let row = ("device".to_owned(), house.device.to_string(), "signed_out".to_owned());
    assert_eq!(revocations(&house).await, [row]);
    assert!(iam.asked().is_empty());
    // The same token: one that is issued a second later is a new sign-in's.
    let proof = house.proof(SESSION, &token, |_| {});
    let answer = house.send(house.with(SESSION, &format!("DPoP {token}"), &proof)).await;
    answer.is_problem(401, ENDED);
}

#[tokio::test]
async fn a_later_sign_out_under_the_same_request_id_is_carried_out_too() {
    let (house, _iam) = house().await;
    let id: RequestId = fresh();
    for issued in [-60, 5] {
        let token = house.token(|claims| {
            claims.sid = None;
            claims.iat += issued;
        });
        let proof = house.proof(SIGN_OUT, &token, |claims| claims["htm"] = json!("POST"));
        let request = house.with(SIGN_OUT, &format!("DPoP {token}"), &proof).method("POST");
        let answer = house.send(request.header("x-request-id", id.as_str())).await;
        assert_eq!(answer.status, 204, "{}", answer.body);
    }
    assert_eq!(revocations(&house).await.len(), 2);
}

#[tokio::test]
async fn the_sessions_live_stream_is_told_and_ends() {
    let (house, _iam) = house().await;
    let mut stream = house.stream().await;
    assert_eq!(sign_out(&house).await.status, 204);
    let mut told = String::new();
    let read = async {
        while let Some(frame) = stream.frame().await {
            told.push_str(std::str::from_utf8(frame.unwrap().data_ref().unwrap()).unwrap());
        }
    };
    timeout(Duration::from_secs(5), read).await.expect("the stream closes");
    let last = "event: session.force_logout\ndata: {\"reason\":\"signed_out\"}";
    assert!(told.contains(last), "{told}");
}
