//! Decision order of gateway-api section 3: if two neighbouring checks fail, the earlier one
//! decides.

use contracts::id::{OperatorId, PropertyId};
use contracts::upstream::iam::AccessTokenClaims;
use serde_json::{Value, json};

use crate::sessions::tenant_status::TenantStatus;
use crate::tests::call::TestCall;
use crate::tests::test_gateway::{TestGateway, fresh};

const DASHBOARD: &str = "/api/bff/backoffice/v1/dashboard";
const STREAM: &str = "/api/bff/backoffice/v1/sse/stream";

const ANOTHER_DEVICE: &str = "dev_01K0000000000000000000000A";

/// A request about a property outside of the caller's scope, with a token of a minute ago.
fn out_of_scope(gateway: &TestGateway) -> TestCall<'_> {
    let call = gateway.get(format!("{DASHBOARD}?propertyId={}", fresh::<PropertyId>()));
    call.claims(|claims| claims.iat -= 60)
}

fn for_another_token(proof: &mut Value) {
    proof["ath"] = json!("another");
}

fn expired(claims: &mut AccessTokenClaims) {
    claims.exp = claims.iat + 1;
}

fn without_roles(claims: &mut AccessTokenClaims) {
    claims.roles.clear();
}

#[tokio::test]
async fn no_authorization_is_reported_before_a_bad_proof() {
    let gateway = TestGateway::open().await;
    let call = out_of_scope(&gateway).without("authorization").proof(for_another_token);
    call.await.problem(401, "MELMASTOON.BFF.SESSION_REQUIRED");
}

#[tokio::test]
async fn a_bad_proof_is_reported_before_an_expired_token_and_a_revoked_session() {
    let gateway = TestGateway::open().await;
    let bad_proof = || out_of_scope(&gateway).proof(for_another_token);
    bad_proof().claims(expired).await.problem(401, "MELMASTOON.BFF.DPOP_INVALID");
    gateway.revoke("session").await;
    bad_proof().await.problem(401, "MELMASTOON.BFF.DPOP_INVALID");
}

#[tokio::test]
async fn an_expired_token_and_a_revoked_session_are_reported_before_another_device() {
    let gateway = TestGateway::open().await;
    let another_device = || out_of_scope(&gateway).header("x-device-id", ANOTHER_DEVICE);
    another_device().claims(expired).await.problem(401, "MELMASTOON.BFF.SESSION_EXPIRED");
    gateway.revoke("session").await;
    another_device().await.problem(401, "MELMASTOON.BFF.SESSION_EXPIRED");
}

fn suspend(gateway: &TestGateway) {
    let (tenant, stated_at) = (gateway.tenant, gateway.clock.now());
    gateway.state.tenant_statuses.apply(TenantStatus { tenant, suspended: true, stated_at });
}

#[tokio::test]
async fn another_device_and_another_s_session_are_reported_before_a_suspended_tenant() {
    let gateway = TestGateway::open().await;
    out_of_scope(&gateway).await;
    suspend(&gateway);
    let another_device = out_of_scope(&gateway).header("x-device-id", ANOTHER_DEVICE).await;
    another_device.problem(403, "MELMASTOON.BFF.DEVICE_MISMATCH");
    let another_operator = fresh::<OperatorId>().to_string();
    let its_session = gateway.get(STREAM).claims(|claims| claims.sub = another_operator).await;
    its_session.problem(403, "MELMASTOON.BFF.DEVICE_MISMATCH");
}

#[tokio::test]
async fn a_suspended_tenant_is_reported_before_a_property_out_of_scope() {
    let gateway = TestGateway::open().await;
    out_of_scope(&gateway).await.problem(403, "MELMASTOON.BFF.PROPERTY_OUT_OF_SCOPE");
    suspend(&gateway);
    out_of_scope(&gateway).await.problem(503, "MELMASTOON.TENANT.SUSPENDED");
}

#[tokio::test]
async fn a_property_out_of_scope_is_reported_before_a_role_that_does_not_allow_it() {
    let gateway = TestGateway::open().await;
    let response = out_of_scope(&gateway).claims(without_roles).await;
    response.problem(403, "MELMASTOON.BFF.PROPERTY_OUT_OF_SCOPE");
    let path = format!("{DASHBOARD}?propertyId={}", gateway.property);
    gateway.get(path).claims(without_roles).await.problem(403, "MELMASTOON.BFF.ROLE_FORBIDDEN");
}

#[tokio::test]
async fn a_role_that_does_not_allow_it_is_reported_before_a_session_store_that_is_unavailable() {
    let gateway = TestGateway::without_session_store().await;
    gateway.get(STREAM).claims(without_roles).await.problem(403, "MELMASTOON.BFF.ROLE_FORBIDDEN");
    gateway.get(STREAM).await.problem(503, "MELMASTOON.BFF.CACHE_UNAVAILABLE");
}
