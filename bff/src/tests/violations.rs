//! Rules of bodies: a problem names every member that breaks one, in the order of
//! their names.

use contracts::id::{LockDeviceId, TenantId};
use serde_json::{Value, json};

use crate::tests::fixture::BASE;
use crate::tests::iam;
use crate::tests::issuer::FIRST;
use crate::tests::test_gateway::{TestGateway, TestResponse, fresh};

/// Asserts a 400 that names these members with these codes, and no other.
#[track_caller]
fn assert_violations(response: TestResponse, expected: &[[&str; 2]]) {
    let response = response.problem(400, "MELMASTOON.GENERAL.VALIDATION_FAILED");
    let expected: Vec<Value> =
        expected.iter().map(|[field, code]| json!({"field": field, "code": code})).collect();
    assert_eq!(response.body["errors"], json!(expected), "{}", response.body);
}

#[tokio::test]
async fn a_public_route_names_all_of_them() {
    let (gateway, iam) = iam::gateway().await;
    let body = json!({
        "method": "totp", "code": "", "scope": "folio.refund", "resource": fresh::<LockDeviceId>(),
    });
    let response = gateway.post(format!("{BASE}/auth/mfa/step-up")).json(&body).await;
    let detail = response.body["detail"].as_str().unwrap();
    assert!(detail.contains("body.code") && detail.contains("the folio or lock"), "{detail}");
    assert_violations(response, &[["body.code", "INVALID"], ["body.resource", "INVALID"]]);
    assert!(iam.requests().is_empty());
}

#[tokio::test]
async fn internal_routes_name_all_of_them_and_change_nothing() {
    let gateway = TestGateway::open().await;
    let wrong_override = json!({"rules": "[[deny]]", "reason": " \t"});
    let wrong_target =
        json!({"tenantId": gateway.tenant, "kind": "hotel", "id": "x", "reason": "\u{a0}"});
    for (path, body, expected) in [
        (
            "admin/edge-rules",
            wrong_override,
            &[["body.reason", "INVALID"], ["body.rules", "INVALID"]][..],
        ),
        ("sessions/revoke", wrong_target, &[["body.kind", "UNKNOWN"]]),
        ("admin/unfreeze-locks", json!({"reason": "  "}), &[["body.reason", "INVALID"]]),
        ("admin/unfreeze-second-factor", json!({"reason": "  "}), &[["body.reason", "INVALID"]]),
    ] {
        let response = gateway.account(FIRST).post(format!("/internal/{path}")).json(&body).await;
        assert_violations(response, expected);
    }
    assert!(gateway.database.rows("SELECT step FROM bff.admin_audit").await.is_empty());
}

#[tokio::test]
async fn a_blank_reason_prevents_no_revocation() {
    let gateway = TestGateway::open().await;
    let body = json!({
        "tenantId": gateway.tenant, "kind": "operator", "id": gateway.operator, "reason": " "
    });
    gateway.account(FIRST).post("/internal/sessions/revoke").json(&body).await.status(200);
    gateway.get(format!("{BASE}/session")).await.status(401);
}

#[tokio::test]
async fn a_tenant_is_revoked_under_its_own_id_only() {
    let gateway = TestGateway::open().await;
    let other: TenantId = fresh();
    let body = json!({"tenantId": gateway.tenant, "kind": "tenant", "id": other, "reason": "left"});
    let response = gateway.account(FIRST).post("/internal/sessions/revoke").json(&body).await;
    assert_violations(response, &[["body.id", "INVALID"]]);
}
