//! `POST /auth/refresh`: new tokens for a proof and a refresh token, unless revoked.

use std::time::Duration;

use auth::jwks::KeySet;
use auth::request_token::{RequestTokenRules, verify_service};
use contracts::clock::{Clock, Entropy};
use contracts::id::{DeviceId, Id, RequestId, SessionId};
use contracts::upstream::iam::Confirmation;
use http::request::Builder;
use jiff::SignedDuration;
use serde_json::{Value, json};
use service_kit::postgres::write;

use crate::sessions::revocation::Target;
use crate::sessions::revocation::store::{NewRevocation, insert};
use crate::tests::iam::{Iam, gateway, gateway_without};
use crate::tests::test_gateway::{Answer, Key, TestGateway};

const REFRESH: &str = "/api/bff/backoffice/v1/auth/refresh";
const REVOKE: &str = "/internal/sessions/revoke";
const ENDED: &str = "MELMASTOON.BFF.SESSION_EXPIRED";

fn fresh<T: Id>() -> T {
    T::generate(&Clock::system(), &Entropy::system())
}

pub(crate) fn proof(gateway: &TestGateway, change: impl FnOnce(&mut Value)) -> String {
    gateway.proof(REFRESH, "", |claims| {
        claims["htm"] = json!("POST");
        claims.as_object_mut().unwrap().remove("ath");
        change(claims);
    })
}

pub(crate) fn request(gateway: &TestGateway, proof: &str) -> Builder {
    http::Request::post(REFRESH)
        .header("dpop", proof)
        .header("x-device-id", gateway.device.as_str())
}

/// Sends a refresh token that was not used before.
async fn send(gateway: &TestGateway, request: Builder) -> Answer {
    let token = format!("{:032x}", Entropy::system().u128());
    gateway.send_json(request, &json!({"refreshToken": token})).await
}

/// Sends a refresh as a desktop does.
async fn refresh(gateway: &TestGateway) -> Answer {
    send(gateway, request(gateway, &proof(gateway, |_| {}))).await
}

fn grant(gateway: &TestGateway, iam: &Iam) {
    iam.grants(gateway.token(|_| {}));
}

#[tokio::test]
async fn a_device_that_proves_its_key_gets_a_new_pair() {
    let (gateway, iam) = gateway().await;
    let token = gateway.token(|claims| claims.exp = claims.iat + 600);
    iam.grants(token.clone());
    let body = json!({"refreshToken": "the-first"});
    let answer = gateway.send_json(request(&gateway, &proof(&gateway, |_| {})), &body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert_eq!(answer.body["accessToken"], token);
    assert_eq!(answer.body["refreshToken"], "the-next");
    assert_eq!(answer.body["tokenType"], "DPoP");
    let left = answer.body["expiresIn"].as_u64().unwrap();
    assert!((598..=600).contains(&left), "the token's own end counts: {left}");
    let requests = iam.requests();
    assert_eq!(requests[0].path, "/api/v1/auth/refresh");
    let jkt = gateway.device_key.thumbprint();
    let forwarded = json!({"refreshToken": "the-first", "jkt": jkt, "deviceId": gateway.device});
    assert_eq!(requests[0].body, forwarded);
    let keys = serde_json::to_vec(&gateway.state.request_tokens.key_set()).unwrap();
    let rules = RequestTokenRules { issuer: "bff-backoffice".into(), audience: "iam".into() };
    let bearer = requests[0].bearer.strip_prefix("Bearer ").unwrap();
    verify_service(bearer, &KeySet::parse(&keys).unwrap(), &rules, gateway.clock.now()).unwrap();
}

#[tokio::test]
async fn a_session_revoked_since_it_began_is_not_refreshed() {
    for kind in ["session", "device", "operator", "tenant"] {
        let (gateway, iam) = gateway().await;
        grant(&gateway, &iam);
        assert_eq!(refresh(&gateway).await.status, 200);
        let id = match kind {
            "session" => gateway.session.to_string(),
            "device" => gateway.device.to_string(),
            "operator" => gateway.operator.to_string(),
            _ => gateway.tenant.to_string(),
        };
        let order = json!({"tenantId": gateway.tenant, "kind": kind, "id": id, "reason": "lost"});
        let answer = gateway.post_internal(REVOKE, fresh::<RequestId>().as_str(), &order).await;
        assert_eq!(answer.status, 200);
        // As late as clocks allow: the token is new, the session is not.
        iam.grants(gateway.token(|claims| claims.iat += 5));
        let answer = refresh(&gateway).await;
        answer.is_problem(401, ENDED);
        assert!(answer.body.get("accessToken").is_none(), "{kind}");
        assert!(answer.headers["www-authenticate"].to_str().unwrap().starts_with("DPoP "));
        // A sign-in afterwards begins another session.
        let later = gateway.clock.now() + SignedDuration::from_secs(2);
        let session = SessionId::from_parts(later, 1).to_string();
        iam.grants(gateway.token(|claims| claims.sid = Some(session)));
        assert_eq!(refresh(&gateway).await.status, 200, "{kind}");
    }
}

/// A revocation so old that no instance has it in memory.
async fn revoked_long_ago(gateway: &TestGateway, target: Target) {
    let then = gateway.clock.now() - SignedDuration::from_hours(20 * 24);
    let (reason, cause) = ("lost".to_owned().try_into().unwrap(), "an-event".to_owned());
    let order = NewRevocation { tenant: gateway.tenant, target, revoked_at: then, reason, cause };
    let mut connection = gateway.state.database.connection().await.unwrap();
    let transaction = write(&mut connection, gateway.tenant).await.unwrap();
    insert(&transaction, &order, then).await.unwrap();
    transaction.commit().await.unwrap();
    gateway.state.revocations.poll().await.unwrap();
    assert!(gateway.state.revocations.live().is_empty());
}

#[tokio::test]
async fn a_revocation_of_weeks_ago_still_holds_for_a_session_that_is_older() {
    let (gateway, iam) = gateway().await;
    let began = gateway.clock.now() - SignedDuration::from_hours(25 * 24);
    let old = SessionId::from_parts(began, 1).to_string();
    revoked_long_ago(&gateway, Target::Device(gateway.device)).await;
    grant(&gateway, &iam);
    assert_eq!(refresh(&gateway).await.status, 200, "this session began later");
    iam.grants(gateway.token(|claims| claims.sid = Some(old)));
    refresh(&gateway).await.is_problem(401, ENDED);
    iam.grants(gateway.token(|claims| claims.sid = None));
    refresh(&gateway).await.is_problem(401, ENDED);
}

#[tokio::test]
async fn without_the_durable_store_what_this_instance_heard_decides() {
    let (gateway, iam) = gateway().await;
    grant(&gateway, &iam);
    let order = json!({"tenantId": gateway.tenant, "kind": "session", "id": gateway.session, "reason": "lost"});
    gateway.post_internal(REVOKE, fresh::<RequestId>().as_str(), &order).await;
    gateway.database.go_away().await;
    refresh(&gateway).await.is_problem(401, ENDED);
    iam.grants(gateway.token(|claims| claims.sid = Some(fresh::<SessionId>().to_string())));
    assert_eq!(refresh(&gateway).await.status, 200);
    gateway.database.come_back().await;
}

#[tokio::test]
async fn a_proof_is_for_this_url_alone_and_for_one_use() {
    let (gateway, iam) = gateway().await;
    grant(&gateway, &iam);
    let good = proof(&gateway, |_| {});
    assert_eq!(send(&gateway, request(&gateway, &good)).await.status, 200);
    let replayed = send(&gateway, request(&gateway, &good)).await;
    replayed.is_problem(401, "MELMASTOON.BFF.DPOP_INVALID");
    let challenge = replayed.headers["www-authenticate"].to_str().unwrap();
    assert!(challenge.contains(r#"error="invalid_dpop_proof""#), "{challenge}");
    let elsewhere = format!("{}/api/bff/backoffice/v1/session", crate::tests::test_gateway::BASE);
    for bad in [
        proof(&gateway, |claims| claims["htu"] = json!(elsewhere)),
        proof(&gateway, |claims| claims["htm"] = json!("GET")),
        proof(&gateway, |claims| claims["iat"] = json!(gateway.clock.unix_seconds() - 90)),
        "not.a.proof".to_owned(),
    ] {
        send(&gateway, request(&gateway, &bad))
            .await
            .is_problem(401, "MELMASTOON.BFF.DPOP_INVALID");
    }
    let twice = request(&gateway, &proof(&gateway, |_| {})).header("dpop", proof(&gateway, |_| {}));
    send(&gateway, twice).await.is_problem(401, "MELMASTOON.BFF.DPOP_INVALID");
    assert_eq!(iam.requests().len(), 1);
}

#[tokio::test]
async fn a_proof_without_a_nonce_is_refused_with_the_nonce_to_use() {
    let (iam, url) = Iam::open().await;
    let gateway = TestGateway::with_nonces().await.asking(contracts::upstream::Upstream::Iam, &url);
    grant(&gateway, &iam);
    let first = refresh(&gateway).await;
    first.is_problem(401, "MELMASTOON.BFF.DPOP_INVALID");
    let challenge = first.headers["www-authenticate"].to_str().unwrap();
    assert!(challenge.contains(r#"error="use_dpop_nonce""#), "{challenge}");
    let nonce = first.headers["dpop-nonce"].to_str().unwrap().to_owned();
    let proof = proof(&gateway, |claims| claims["nonce"] = json!(nonce));
    assert_eq!(send(&gateway, request(&gateway, &proof)).await.status, 200);
}

#[tokio::test]
async fn the_proof_is_checked_before_the_device_and_the_device_before_iam() {
    let gateway = gateway_without().await;
    let bare = http::Request::post(REFRESH);
    send(&gateway, bare).await.is_problem(401, "MELMASTOON.BFF.DPOP_INVALID");
    let bad = http::Request::post(REFRESH).header("dpop", "not.a.proof");
    send(&gateway, bad).await.is_problem(401, "MELMASTOON.BFF.DPOP_INVALID");
    let good = proof(&gateway, |_| {});
    let no_device = http::Request::post(REFRESH).header("dpop", &good);
    send(&gateway, no_device).await.is_problem(403, "MELMASTOON.BFF.DEVICE_MISMATCH");
    let again = send(&gateway, request(&gateway, &good)).await;
    again.is_problem(502, "MELMASTOON.BFF.UPSTREAM_UNAVAILABLE");
    assert_eq!(again.body["runbook"], "bff-backoffice/iam-refresh-down");
    assert_eq!(again.body["retriable"], true);
}

#[tokio::test]
async fn two_credentials_are_refused() {
    let (gateway, iam) = gateway().await;
    let token = gateway.token(|_| {});
    let both = request(&gateway, &proof(&gateway, |_| {}))
        .header("authorization", format!("DPoP {token}"));
    send(&gateway, both).await.is_problem(400, "MELMASTOON.GENERAL.MALFORMED_REQUEST");
    assert!(iam.requests().is_empty());
}

#[tokio::test]
async fn a_token_that_is_not_the_callers_is_not_returned() {
    let (gateway, iam) = gateway().await;
    let stranger = Confirmation { jkt: Key::new().thumbprint() };
    let device = fresh::<DeviceId>().to_string();
    for token in [
        gateway.token(|claims| claims.cnf = stranger),
        gateway.token(|claims| claims.device_id = device),
        gateway.token(|claims| claims.aud = "another".into()),
        gateway.token(|claims| claims.iss = "https://elsewhere.test".into()),
        gateway.token(|claims| claims.exp = claims.iat),
        "opaque".to_owned(),
    ] {
        iam.grants(token);
        let answer = refresh(&gateway).await;
        answer.is_problem(502, "MELMASTOON.BFF.SCHEMA_DRIFT");
        assert!(answer.body.get("accessToken").is_none());
    }
    let bearer =
        json!({"access_token": gateway.token(|_| {}), "token_type": "Bearer", "expires_in": 1});
    iam.answers(200, bearer);
    refresh(&gateway).await.is_problem(502, "MELMASTOON.BFF.SCHEMA_DRIFT");
}

#[tokio::test]
async fn iams_refusal_passes_through_and_its_failure_does_not() {
    let (gateway, iam) = gateway().await;
    iam.refuses(401, "MELMASTOON.IAM.REFRESH_TOKEN_INVALID");
    let answer = refresh(&gateway).await;
    answer.is_problem(401, "MELMASTOON.IAM.REFRESH_TOKEN_INVALID");
    iam.refuses(500, "MELMASTOON.IAM.INTERNAL");
    refresh(&gateway).await.is_problem(502, "MELMASTOON.BFF.UPSTREAM_UNAVAILABLE");
    // What is refused of the gateway itself must not sign the operator out.
    iam.refuses(401, "MELMASTOON.GENERAL.UNAUTHENTICATED");
    refresh(&gateway).await.is_problem(502, "MELMASTOON.BFF.UPSTREAM_UNAVAILABLE");
    iam.takes(Duration::from_secs(5));
    refresh(&gateway).await.is_problem(504, "MELMASTOON.BFF.UPSTREAM_TIMEOUT");
}

#[tokio::test]
async fn a_body_without_a_usable_refresh_token_is_not_forwarded() {
    let (gateway, iam) = gateway().await;
    for body in [json!({}), json!({"refreshToken": ""}), json!({"refreshToken": "a".repeat(4097)})]
    {
        let request = request(&gateway, &proof(&gateway, |_| {}));
        let answer = gateway.send_json(request, &body).await;
        answer.is_problem(400, "MELMASTOON.GENERAL.VALIDATION_FAILED");
    }
    assert!(iam.requests().is_empty());
}
