//! `POST /auth/refresh`: new tokens for a proof and a refresh token, unless revoked.

use std::time::Duration;

use auth::jwks::KeySet;
use auth::request_token::verify_service;
use auth::token::TokenRules;
use contracts::id::{DeviceId, Id, SessionId};
use contracts::upstream::iam::Confirmation;
use jiff::SignedDuration;
use serde_json::json;
use service_kit::postgres::write;

use crate::sessions::revocation::Target;
use crate::sessions::revocation::store::{NewRevocation, insert};
use crate::tests::call::TestCall;
use crate::tests::fixture::fresh_key;
use crate::tests::iam::{Iam, gateway, gateway_without};
use crate::tests::test_gateway::{Key, TestGateway, fresh};

const REFRESH: &str = "/api/bff/backoffice/v1/auth/refresh";
const DPOP_INVALID: &str = "MELMASTOON.BFF.DPOP_INVALID";
const ENDED: &str = "MELMASTOON.BFF.SESSION_EXPIRED";

/// A refresh as a desktop sends it, with a refresh token that was not used before.
fn refresh(gateway: &TestGateway) -> TestCall<'_> {
    refresh_with(gateway, &fresh_key())
}

pub(crate) fn refresh_with<'a>(gateway: &'a TestGateway, token: &str) -> TestCall<'a> {
    gateway.post(REFRESH).proof_only().json(&json!({"refreshToken": token}))
}

/// A proof for a refresh.
pub(crate) fn proof(gateway: &TestGateway) -> String {
    let request = refresh(gateway).request();
    request.headers()["dpop"].to_str().unwrap().to_owned()
}

fn grant(gateway: &TestGateway, iam: &Iam) {
    iam.grants(gateway.token(|_| {}));
}

#[tokio::test]
async fn a_device_that_proves_its_key_gets_a_new_pair() {
    let (gateway, iam) = gateway().await;
    let token = gateway.token(|claims| claims.exp = claims.iat + 600);
    iam.grants(token.clone());
    let response = refresh_with(&gateway, "the-first").await.status(200);
    assert_eq!(response.headers["cache-control"], "no-store");
    assert_eq!(response.body["accessToken"], token);
    assert_eq!(response.body["refreshToken"], "the-next");
    assert_eq!(response.body["tokenType"], "DPoP");
    let left = response.body["expiresIn"].as_u64().unwrap();
    assert!((598..=600).contains(&left), "the token's own end counts: {left}");
    let requests = iam.requests();
    assert_eq!(requests[0].path, "/api/v1/auth/refresh");
    let jkt = gateway.device_key.thumbprint();
    let forwarded = json!({"refreshToken": "the-first", "jkt": jkt, "deviceId": gateway.device});
    assert_eq!(requests[0].body, forwarded);
    let keys = serde_json::to_vec(&gateway.state.request_tokens.key_set()).unwrap();
    let rules = TokenRules { issuer: "bff-backoffice".into(), audience: "iam".into() };
    let bearer = requests[0].bearer.strip_prefix("Bearer ").unwrap();
    verify_service(bearer, &KeySet::parse(&keys).unwrap(), &rules, gateway.clock.now()).unwrap();
}

#[tokio::test]
async fn a_session_revoked_since_it_began_is_not_refreshed() {
    for kind in ["session", "device", "operator", "tenant"] {
        let (gateway, iam) = gateway().await;
        grant(&gateway, &iam);
        refresh(&gateway).await.status(200);
        gateway.revoke(kind).await;
        // As late as clocks allow: the token is new, the session is not.
        iam.grants(gateway.token(|claims| claims.iat += 5));
        let response = refresh(&gateway).await.problem(401, ENDED);
        assert!(response.body.get("accessToken").is_none(), "{kind}");
        assert!(response.header("www-authenticate").starts_with("DPoP "));
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
    refresh(&gateway).await.problem(401, ENDED);
    iam.grants(gateway.token(|claims| claims.sid = None));
    refresh(&gateway).await.problem(401, ENDED);
}

#[tokio::test]
async fn without_the_durable_store_what_this_instance_heard_decides() {
    let (gateway, iam) = gateway().await;
    grant(&gateway, &iam);
    gateway.revoke("session").await;
    gateway.database.go_away().await;
    refresh(&gateway).await.problem(401, ENDED);
    iam.grants(gateway.token(|claims| claims.sid = Some(fresh::<SessionId>().to_string())));
    refresh(&gateway).await.status(200);
    gateway.database.come_back().await;
}

#[tokio::test]
async fn a_proof_is_for_this_url_alone_and_for_one_use() {
    let (gateway, iam) = gateway().await;
    grant(&gateway, &iam);
    let good = proof(&gateway);
    refresh(&gateway).header("dpop", &good).await.status(200);
    let replayed = refresh(&gateway).header("dpop", &good).await.problem(401, DPOP_INVALID);
    let challenge = replayed.header("www-authenticate");
    assert!(challenge.contains(r#"error="invalid_dpop_proof""#), "{challenge}");
    let elsewhere = format!("{}/api/bff/backoffice/v1/session", crate::tests::test_gateway::BASE);
    for (member, value) in [
        ("htu", json!(elsewhere)),
        ("htm", json!("GET")),
        ("iat", json!(gateway.clock.unix_seconds() - 90)),
    ] {
        let bad = refresh(&gateway).proof(|claims| claims[member] = value);
        bad.await.problem(401, DPOP_INVALID);
    }
    refresh(&gateway).header("dpop", "not.a.proof").await.problem(401, DPOP_INVALID);
    let second = proof(&gateway);
    refresh(&gateway).header_lines("dpop", &[&second]).await.problem(401, DPOP_INVALID);
    assert_eq!(iam.requests().len(), 1);
}

#[tokio::test]
async fn a_proof_without_a_nonce_is_refused_with_the_nonce_to_use() {
    let (iam, url) = Iam::open().await;
    let gateway = TestGateway::with_nonces().await.asking(contracts::upstream::Upstream::Iam, &url);
    grant(&gateway, &iam);
    let first = refresh(&gateway).await.problem(401, DPOP_INVALID);
    let challenge = first.header("www-authenticate");
    assert!(challenge.contains(r#"error="use_dpop_nonce""#), "{challenge}");
    let nonce = first.header("dpop-nonce");
    refresh(&gateway).proof(|claims| claims["nonce"] = json!(nonce)).await.status(200);
}

#[tokio::test]
async fn the_proof_is_checked_before_the_device_and_the_device_before_iam() {
    let gateway = gateway_without().await;
    let anonymous = || refresh(&gateway).anonymous();
    anonymous().await.problem(401, DPOP_INVALID);
    anonymous().header("dpop", "not.a.proof").await.problem(401, DPOP_INVALID);
    let good = proof(&gateway);
    let no_device = anonymous().header("dpop", &good).await;
    no_device.problem(403, "MELMASTOON.BFF.DEVICE_MISMATCH");
    let again = refresh(&gateway).header("dpop", &good).await;
    let again = again.problem(502, "MELMASTOON.BFF.UPSTREAM_UNAVAILABLE");
    assert_eq!(again.body["runbook"], "bff-backoffice/iam-refresh-down");
    assert_eq!(again.body["retriable"], true);
}

#[tokio::test]
async fn two_credentials_are_refused() {
    let (gateway, iam) = gateway().await;
    let both = gateway.post(REFRESH).json(&json!({"refreshToken": fresh_key()})).await;
    both.problem(400, "MELMASTOON.GENERAL.MALFORMED_REQUEST");
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
        let response = refresh(&gateway).await.problem(502, "MELMASTOON.BFF.SCHEMA_DRIFT");
        assert!(response.body.get("accessToken").is_none());
    }
    let bearer =
        json!({"access_token": gateway.token(|_| {}), "token_type": "Bearer", "expires_in": 1});
    iam.answers(200, bearer);
    refresh(&gateway).await.problem(502, "MELMASTOON.BFF.SCHEMA_DRIFT");
}

#[tokio::test]
async fn iams_refusal_passes_through_and_its_failure_does_not() {
    let (gateway, iam) = gateway().await;
    iam.refuses(401, "MELMASTOON.IAM.REFRESH_TOKEN_INVALID");
    refresh(&gateway).await.problem(401, "MELMASTOON.IAM.REFRESH_TOKEN_INVALID");
    iam.refuses(500, "MELMASTOON.IAM.INTERNAL");
    refresh(&gateway).await.problem(502, "MELMASTOON.BFF.UPSTREAM_UNAVAILABLE");
    // What is refused of the gateway itself must not sign the operator out.
    iam.refuses(401, "MELMASTOON.GENERAL.UNAUTHENTICATED");
    refresh(&gateway).await.problem(502, "MELMASTOON.BFF.UPSTREAM_UNAVAILABLE");
    iam.takes(Duration::from_secs(5));
    refresh(&gateway).await.problem(504, "MELMASTOON.BFF.UPSTREAM_TIMEOUT");
}

#[tokio::test]
async fn a_body_without_a_usable_refresh_token_is_not_forwarded() {
    let (gateway, iam) = gateway().await;
    for body in [json!({}), json!({"refreshToken": ""}), json!({"refreshToken": "a".repeat(4097)})]
    {
        let response = refresh(&gateway).json(&body).await;
        response.problem(400, "MELMASTOON.GENERAL.VALIDATION_FAILED");
    }
    assert!(iam.requests().is_empty());
}
