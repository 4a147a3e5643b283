//! `POST /auth/refresh`: a proof and a refresh token in, a new pair out, unless something was
//! revoked.

use std::time::Duration;

use auth::jwks::KeySet;
use auth::request_token::{RequestTokenRules, verify_service};
use bff::sessions::revocation::Target;
use bff::sessions::revocation::store::{Order, insert};
use contracts::clock::{Clock, Entropy};
use contracts::id::{DeviceId, Id, RequestId, SessionId};
use contracts::upstream::iam::Confirmation;
use http::request::Builder;
use jiff::SignedDuration;
use serde_json::{Value, json};
use service_kit::postgres::write;

use crate::house::{Answer, House, Key};
use crate::iam::{Iam, house, house_without};

const REFRESH: &str = "/api/bff/backoffice/v1/auth/refresh";
const REVOKE: &str = "/internal/sessions/revoke";
const ENDED: &str = "MELMASTOON.BFF.SESSION_EXPIRED";

fn fresh<T: Id>() -> T {
    T::generate(&Clock::system(), &Entropy::system())
}

pub(crate) fn proof(house: &House, change: impl FnOnce(&mut Value)) -> String {
    house.proof(REFRESH, "", |claims| {
        claims["htm"] = json!("POST");
        claims.as_object_mut().unwrap().remove("ath");
        change(claims);
    })
}

pub(crate) fn request(house: &House, proof: &str) -> Builder {
    http::Request::post(REFRESH).header("dpop", proof).header("x-device-id", house.device.as_str())
}

/// With a refresh token that nobody sent before.
async fn send(house: &House, request: Builder) -> Answer {
    let token = format!("{:032x}", Entropy::system().u128());
    house.send_json(request, &json!({"refreshToken": token})).await
}

/// As a desktop does it.
async fn refresh(house: &House) -> Answer {
    send(house, request(house, &proof(house, |_| {}))).await
}

fn grant(house: &House, iam: &Iam) {
    iam.grants(house.token(|_| {}));
}

#[tokio::test]
async fn a_device_that_proves_its_key_gets_a_new_pair() {
    let (house, iam) = house().await;
    let token = house.token(|claims| claims.exp = claims.iat + 600);
    iam.grants(token.clone());
    let body = json!({"refreshToken": "the-first"});
    let answer = house.send_json(request(&house, &proof(&house, |_| {})), &body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert_eq!(answer.body["accessToken"], token);
    assert_eq!(answer.body["refreshToken"], "the-next");
    assert_eq!(answer.body["tokenType"], "DPoP");
    let left = answer.body["expiresIn"].as_u64().unwrap();
    assert!((598..=600).contains(&left), "the token's own end counts: {left}");
    let asked = iam.asked();
    assert_eq!(asked[0].path, "/api/v1/auth/refresh");
    let jkt = house.device_key.thumbprint();
    let told = json!({"refreshToken": "the-first", "jkt": jkt, "deviceId": house.device});
    assert_eq!(asked[0].body, told);
    let keys = serde_json::to_vec(&house.gateway.request_tokens.key_set()).unwrap();
    let rules = RequestTokenRules { issuer: "bff-backoffice".into(), audience: "iam".into() };
    let bearer = asked[0].bearer.strip_prefix("Bearer ").unwrap();
    verify_service(bearer, &KeySet::parse(&keys).unwrap(), &rules, house.clock.now()).unwrap();
}

#[tokio::test]
async fn what_was_revoked_since_the_session_began_is_not_renewed() {
    for kind in ["session", "device", "operator", "tenant"] {
        let (house, iam) = house().await;
        grant(&house, &iam);
        assert_eq!(refresh(&house).await.status, 200);
        let id = match kind {
            "session" => house.session.to_string(),
            "device" => house.device.to_string(),
            "operator" => house.operator.to_string(),
            _ => house.tenant.to_string(),
        };
        let order = json!({"tenantId": house.tenant, "kind": kind, "id": id, "reason": "lost"});
        let answer = house.order(REVOKE, fresh::<RequestId>().as_str(), &order).await;
        assert_eq!(answer.status, 200);
        // As late as clocks allow: the token is new, the session is not.
        iam.grants(house.token(|claims| claims.iat += 5));
        let answer = refresh(&house).await;
        answer.is_problem(401, ENDED);
        assert!(answer.body.get("accessToken").is_none(), "{kind}");
        assert!(answer.headers["www-authenticate"].to_str().unwrap().starts_with("DPoP "));
        // A sign-in afterwards begins another session.
        let later = house.clock.now() + SignedDuration::from_secs(2);
        let session = SessionId::from_parts(later, 1).to_string();
        iam.grants(house.token(|claims| claims.sid = Some(session)));
        assert_eq!(refresh(&house).await.status, 200, "{kind}");
    }
}

/// Written down so long ago that no instance keeps it in memory.
async fn revoked_long_ago(house: &House, target: Target) {
    let then = house.clock.now() - SignedDuration::from_hours(20 * 24);
    let (reason, cause) = ("lost".to_owned().try_into().unwrap(), "an-event".to_owned());
    let order = Order { tenant: house.tenant, target, revoked_at: then, reason, cause };
    let mut connection = house.gateway.database.connection().await.unwrap();
    let transaction = write(&mut connection, house.tenant).await.unwrap();
    insert(&transaction, &order, then).await.unwrap();
    transaction.commit().await.unwrap();
    house.gateway.revocations.catch_up().await.unwrap();
    assert!(house.gateway.revocations.live().is_empty());
}

#[tokio::test]
async fn a_revocation_of_weeks_ago_still_holds_for_a_session_that_is_older() {
    let (house, iam) = house().await;
    let began = house.clock.now() - SignedDuration::from_hours(25 * 24);
    let old = SessionId::from_parts(began, 1).to_string();
    revoked_long_ago(&house, Target::Device(house.device)).await;
    grant(&house, &iam);
    assert_eq!(refresh(&house).await.status, 200, "this session began later");
    iam.grants(house.token(|claims| claims.sid = Some(old)));
    refresh(&house).await.is_problem(401, ENDED);
    iam.grants(house.token(|claims| claims.sid = None));
    refresh(&house).await.is_problem(401, ENDED);
}

#[tokio::test]
async fn without_the_durable_store_what_this_instance_heard_decides() {
    let (house, iam) = house().await;
    grant(&house, &iam);
    let order =
        json!({"tenantId": house.tenant, "kind": "session", "id": house.session, "reason": "lost"});
    house.order(REVOKE, fresh::<RequestId>().as_str(), &order).await;
    house.database.go_away().await;
    refresh(&house).await.is_problem(401, ENDED);
    iam.grants(house.token(|claims| claims.sid = Some(fresh::<SessionId>().to_string())));
    assert_eq!(refresh(&house).await.status, 200);
    house.database.come_back().await;
}

#[tokio::test]
async fn a_proof_is_for_this_url_alone_and_for_one_use() {
    let (house, iam) = house().await;
    grant(&house, &iam);
    let good = proof(&house, |_| {});
    assert_eq!(send(&house, request(&house, &good)).await.status, 200);
    let replayed = send(&house, request(&house, &good)).await;
    replayed.is_problem(401, "MELMASTOON.BFF.DPOP_INVALID");
    let challenge = replayed.headers["www-authenticate"].to_str().unwrap();
    assert!(challenge.contains(r#"error="invalid_dpop_proof""#), "{challenge}");
    let elsewhere = format!("{}/api/bff/backoffice/v1/session", crate::house::BASE);
    for bad in [
        proof(&house, |claims| claims["htu"] = json!(elsewhere)),
        proof(&house, |claims| claims["htm"] = json!("GET")),
        proof(&house, |claims| claims["iat"] = json!(house.clock.unix_seconds() - 90)),
        "not.a.proof".to_owned(),
    ] {
        send(&house, request(&house, &bad)).await.is_problem(401, "MELMASTOON.BFF.DPOP_INVALID");
    }
    let twice = request(&house, &proof(&house, |_| {})).header("dpop", proof(&house, |_| {}));
    send(&house, twice).await.is_problem(401, "MELMASTOON.BFF.DPOP_INVALID");
    assert_eq!(iam.asked().len(), 1);
}

#[tokio::test]
async fn a_proof_without_a_nonce_is_told_which_to_use() {
    let (iam, url) = Iam::open().await;
    let house = House::with_nonces().await.asking(contracts::upstream::Upstream::Iam, &url);
    grant(&house, &iam);
    let first = refresh(&house).await;
    first.is_problem(401, "MELMASTOON.BFF.DPOP_INVALID");
    let challenge = first.headers["www-authenticate"].to_str().unwrap();
    assert!(challenge.contains(r#"error="use_dpop_nonce""#), "{challenge}");
    let nonce = first.headers["dpop-nonce"].to_str().unwrap().to_owned();
    let proof = proof(&house, |claims| claims["nonce"] = json!(nonce));
    assert_eq!(send(&house, request(&house, &proof)).await.status, 200);
}

#[tokio::test]
async fn the_proof_is_judged_before_the_device_and_the_device_before_iam() {
    let house = house_without().await;
    let bare = http::Request::post(REFRESH);
    send(&house, bare).await.is_problem(401, "MELMASTOON.BFF.DPOP_INVALID");
    let bad = http::Request::post(REFRESH).header("dpop", "not.a.proof");
    send(&house, bad).await.is_problem(401, "MELMASTOON.BFF.DPOP_INVALID");
    let good = proof(&house, |_| {});
    let no_device = http::Request::post(REFRESH).header("dpop", &good);
    send(&house, no_device).await.is_problem(403, "MELMASTOON.BFF.DEVICE_MISMATCH");
    let again = send(&house, request(&house, &good)).await;
    again.is_problem(502, "MELMASTOON.BFF.UPSTREAM_UNAVAILABLE");
    assert_eq!(again.body["runbook"], "bff-backoffice/iam-refresh-down");
    assert_eq!(again.body["retriable"], true);
}

#[tokio::test]
async fn two_credentials_are_one_too_many() {
    let (house, iam) = house().await;
    let token = house.token(|_| {});
    let both =
        request(&house, &proof(&house, |_| {})).header("authorization", format!("DPoP {token}"));
    send(&house, both).await.is_problem(400, "MELMASTOON.GENERAL.MALFORMED_REQUEST");
    assert!(iam.asked().is_empty());
}

#[tokio::test]
async fn a_token_that_is_not_the_callers_is_handed_to_nobody() {
    let (house, iam) = house().await;
    let stranger = Confirmation { jkt: Key::new().thumbprint() };
    let device = fresh::<DeviceId>().to_string();
    for token in [
        house.token(|claims| claims.cnf = stranger),
        house.token(|claims| claims.device_id = device),
        house.token(|claims| claims.aud = "another".into()),
        house.token(|claims| claims.iss = "https://elsewhere.test".into()),
        house.token(|claims| claims.exp = claims.iat),
        "opaque".to_owned(),
    ] {
        iam.grants(token);
        let answer = refresh(&house).await;
        answer.is_problem(502, "MELMASTOON.BFF.SCHEMA_DRIFT");
        assert!(answer.body.get("accessToken").is_none());
    }
    let bearer =
        json!({"access_token": house.token(|_| {}), "token_type": "Bearer", "expires_in": 1});
    iam.answers(200, bearer);
    refresh(&house).await.is_problem(502, "MELMASTOON.BFF.SCHEMA_DRIFT");
}

#[tokio::test]
async fn iams_refusal_passes_through_and_its_failure_does_not() {
    let (house, iam) = house().await;
    iam.refuses(401, "MELMASTOON.IAM.REFRESH_TOKEN_INVALID");
    let answer = refresh(&house).await;
    answer.is_problem(401, "MELMASTOON.IAM.REFRESH_TOKEN_INVALID");
    iam.refuses(500, "MELMASTOON.IAM.INTERNAL");
    refresh(&house).await.is_problem(502, "MELMASTOON.BFF.UPSTREAM_UNAVAILABLE");
    // What is refused of the gateway itself must not sign the operator out.
    iam.refuses(401, "MELMASTOON.GENERAL.UNAUTHENTICATED");
    refresh(&house).await.is_problem(502, "MELMASTOON.BFF.UPSTREAM_UNAVAILABLE");
    iam.takes(Duration::from_secs(5));
    refresh(&house).await.is_problem(504, "MELMASTOON.BFF.UPSTREAM_TIMEOUT");
}

#[tokio::test]
async fn a_body_without_a_usable_refresh_token_is_not_sent_on() {
    let (house, iam) = house().await;
    for body in [json!({}), json!({"refreshToken": ""}), json!({"refreshToken": "a".repeat(4097)})]
    {
        let request = request(&house, &proof(&house, |_| {}));
        let answer = house.send_json(request, &body).await;
        answer.is_problem(400, "MELMASTOON.GENERAL.VALIDATION_FAILED");
    }
    assert!(iam.asked().is_empty());
}
