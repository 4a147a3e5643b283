//! `POST /auth/mfa/step-up`: iam verifies the code, the gateway issues the attestation.

use std::time::Duration;

use contracts::id::{FolioId, LockDeviceId};
use serde_json::{Value, json};
use service_kit::postgres::write;

use crate::mutation::attestation::{Scope, Use, consume};
use crate::tests::attestations::principal;
use crate::tests::call::TestCall;
use crate::tests::iam::{gateway, gateway_without};
use crate::tests::test_gateway::{TestGateway, fresh};

const STEP_UP: &str = "/api/bff/backoffice/v1/auth/mfa/step-up";

fn step_up_request(resource: &str) -> Value {
    json!({"method": "totp", "code": "123456", "scope": "folio.refund", "resource": resource})
}

fn step_up(gateway: &TestGateway) -> TestCall<'_> {
    gateway.post(STEP_UP).json(&step_up_request(fresh::<FolioId>().as_str()))
}

#[tokio::test]
async fn a_right_code_gives_an_attestation_for_what_was_named() {
    let (gateway, iam) = gateway().await;
    iam.attests();
    let folio: FolioId = fresh();
    let response = gateway.post(STEP_UP).json(&step_up_request(folio.as_str())).await.status(201);
    assert_eq!(response.headers["cache-control"], "no-store");
    assert_eq!(response.body["scope"], "folio.refund");
    assert_eq!(response.body["resource"], folio.as_str());
    let expires: jiff::Timestamp = response.body["expiresAt"].as_str().unwrap().parse().unwrap();
    let left = expires.duration_since(gateway.clock.now()).as_secs();
    assert!((290..=300).contains(&left), "{left}");
    let received = iam.requests();
    assert_eq!(received[0].path, "/api/v1/auth/mfa/attest");
    assert_eq!(received[0].body, json!({"method": "totp", "code": "123456"}));
    let id = response.body["id"].as_str().unwrap().parse().unwrap();
    let mut connection = gateway.state.database.connection().await.unwrap();
    let transaction = write(&mut connection, gateway.tenant).await.unwrap();
    let resource = folio.to_string();
    let wanted = Use {
        scope: Scope::FolioRefund,
        resource: &resource,
        body_digest: [1; 32],
        by: "request-000000001",
        fingerprint: [2; 32],
        resumes: false,
    };
    let now = gateway.clock.now();
    consume(&transaction, &principal(&gateway), id, &wanted, now).await.unwrap();
}

#[tokio::test]
async fn a_wrong_code_is_iams_refusal_under_the_gateways_request_id_and_writes_no_attestation() {
    let (gateway, iam) = gateway().await;
    iam.refuses(401, "MELMASTOON.IAM.MFA_CODE_INVALID");
    let response = step_up(&gateway).await.problem(401, "MELMASTOON.IAM.MFA_CODE_INVALID");
    assert_eq!(iam.requests()[0].request_id, response.header("x-request-id"));
    assert_eq!(response.body["instance"], STEP_UP);
    assert!(response.header("www-authenticate").starts_with("DPoP algs="));
    let mut connection = gateway.state.database.connection().await.unwrap();
    let transaction = write(&mut connection, gateway.tenant).await.unwrap();
    let count = "SELECT count(*) FROM bff.mfa_attestations WHERE tenant_id = $1";
    let row = transaction.query_one(count, &[&gateway.tenant.as_str()]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 0);
}

#[tokio::test]
async fn an_unavailable_or_slow_iam_is_reported_with_its_runbook() {
    let response =
        step_up(&gateway_without().await).await.problem(502, "MELMASTOON.BFF.UPSTREAM_UNAVAILABLE");
    assert_eq!(response.body["runbook"], "bff-backoffice/mfa-down");
    assert_eq!(response.body["retriable"], true);
    let (gateway, iam) = gateway().await;
    iam.takes(Duration::from_secs(5));
    step_up(&gateway).await.problem(504, "MELMASTOON.BFF.UPSTREAM_TIMEOUT");
    iam.takes(Duration::ZERO);
    iam.answers(200, json!({"verified": true}));
    step_up(&gateway).await.problem(502, "MELMASTOON.BFF.SCHEMA_DRIFT");
}

#[tokio::test]
async fn without_the_durable_store_no_code_is_used() {
    let (gateway, iam) = gateway().await;
    iam.attests();
    gateway.database.go_away().await;
    let response = step_up(&gateway).await.problem(503, "MELMASTOON.BFF.STORE_UNAVAILABLE");
    assert_eq!(response.headers["retry-after"], "5");
    assert!(iam.requests().is_empty());
    gateway.database.come_back().await;
}

#[tokio::test]
async fn an_invalid_purpose_is_refused_before_the_code_is_used() {
    let (gateway, iam) = gateway().await;
    let lock: LockDeviceId = fresh();
    for (member, value, field) in [
        ("code", json!(""), Some("body.code")),
        ("code", json!("1".repeat(33)), Some("body.code")),
        ("resource", json!(lock), Some("body.resource")),
        ("resource", json!(""), Some("body.resource")),
        ("bodyDigest", json!("c2hvcnQ"), Some("body.bodyDigest")),
        ("method", json!("sms"), None),
        ("scope", json!("folio.delete"), None),
        ("surprise", json!(1), None),
    ] {
        let mut body = step_up_request(fresh::<FolioId>().as_str());
        body[member] = value;
        let response = gateway.post(STEP_UP).json(&body).await.status(400);
        if let Some(field) = field {
            response.invalid(field);
        }
    }
    assert!(iam.requests().is_empty());
}

#[tokio::test]
async fn step_up_without_a_token_is_refused() {
    let (gateway, iam) = gateway().await;
    step_up(&gateway).anonymous().await.problem(401, "MELMASTOON.BFF.SESSION_REQUIRED");
    assert!(iam.requests().is_empty());
}
