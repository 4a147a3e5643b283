//! Decision order of gateway-api section 3: if two neighbouring checks fail, the earlier one
//! decides.

use contracts::id::{DeviceId, OperatorId, PropertyId, RequestId};
use serde_json::json;

use crate::sessions::tenant_status::TenantStatus;
use crate::tests::test_gateway::{Answer, TestGateway, TestOptions, fresh};

const DASHBOARD: &str = "/api/bff/backoffice/v1/dashboard";
const STREAM: &str = "/api/bff/backoffice/v1/sse/stream";
const REVOKE: &str = "/internal/sessions/revoke";

/// What is wrong with a request, besides that its property is outside the caller's scope.
#[derive(Default)]
struct Wrong {
    no_authorization: bool,
    proof: bool,
    expired: bool,
    device: bool,
}

async fn send_request(gateway: &TestGateway, wrong: Wrong) -> Answer {
    let token = gateway.token(|claims| {
        claims.iat -= 60;
        if wrong.expired {
            claims.exp = claims.iat + 1;
        }
    });
    let proof = gateway.proof(DASHBOARD, if wrong.proof { "another" } else { &token }, |_| {});
    let device: DeviceId = if wrong.device { fresh() } else { gateway.device };
    let path = format!("{DASHBOARD}?propertyId={}", fresh::<PropertyId>());
    let request = http::Request::get(path).header("dpop", proof);
    let request = request.header("x-device-id", device.as_str());
    let request = if wrong.no_authorization {
        request
    } else {
        request.header("authorization", format!("DPoP {token}"))
    };
    gateway.send(request).await
}

async fn revoke(gateway: &TestGateway) {
    let body = json!({"tenantId": gateway.tenant, "kind": "session", "id": gateway.session, "reason": "x"});
    let answer = gateway.post_internal(REVOKE, fresh::<RequestId>().as_str(), &body).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn no_authorization_is_reported_before_a_bad_proof() {
    let gateway = TestGateway::open().await;
    let answer =
        send_request(&gateway, Wrong { no_authorization: true, proof: true, ..Wrong::default() })
            .await;
    answer.is_problem(401, "MELMASTOON.BFF.SESSION_REQUIRED");
}

#[tokio::test]
async fn a_bad_proof_is_reported_before_an_expired_token_and_a_revoked_session() {
    let gateway = TestGateway::open().await;
    let answer =
        send_request(&gateway, Wrong { proof: true, expired: true, ..Wrong::default() }).await;
    answer.is_problem(401, "MELMASTOON.BFF.DPOP_INVALID");
    revoke(&gateway).await;
    let answer = send_request(&gateway, Wrong { proof: true, ..Wrong::default() }).await;
    answer.is_problem(401, "MELMASTOON.BFF.DPOP_INVALID");
}

#[tokio::test]
async fn an_expired_token_and_a_revoked_session_are_reported_before_another_device() {
    let gateway = TestGateway::open().await;
    let answer =
        send_request(&gateway, Wrong { expired: true, device: true, ..Wrong::default() }).await;
    answer.is_problem(401, "MELMASTOON.BFF.SESSION_EXPIRED");
    revoke(&gateway).await;
    let answer = send_request(&gateway, Wrong { device: true, ..Wrong::default() }).await;
    answer.is_problem(401, "MELMASTOON.BFF.SESSION_EXPIRED");
}

fn suspend(gateway: &TestGateway) {
    let (tenant, stated_at) = (gateway.tenant, gateway.clock.now());
    gateway.state.tenant_statuses.apply(TenantStatus { tenant, suspended: true, stated_at });
}

/// A request whose token names another operator's session.
async fn with_another_s_session(gateway: &TestGateway, path: &str) -> Answer {
    let session = gateway.session.to_string();
    let token = gateway.token(|claims| {
        claims.sub = fresh::<OperatorId>().to_string();
        claims.sid = Some(session);
    });
    let proof = gateway.proof(path.split('?').next().unwrap(), &token, |_| {});
    gateway.send(gateway.with(path, &format!("DPoP {token}"), &proof)).await
}

#[tokio::test]
async fn another_device_and_another_s_session_are_reported_before_a_suspended_tenant() {
    let gateway = TestGateway::open().await;
    send_request(&gateway, Wrong::default()).await;
    suspend(&gateway);
    let answer = send_request(&gateway, Wrong { device: true, ..Wrong::default() }).await;
    answer.is_problem(403, "MELMASTOON.BFF.DEVICE_MISMATCH");
    let answer = with_another_s_session(&gateway, STREAM).await;
    answer.is_problem(403, "MELMASTOON.BFF.DEVICE_MISMATCH");
}

#[tokio::test]
async fn a_suspended_tenant_is_reported_before_a_property_out_of_scope() {
    let gateway = TestGateway::open().await;
    let answer = send_request(&gateway, Wrong::default()).await;
    answer.is_problem(403, "MELMASTOON.BFF.PROPERTY_OUT_OF_SCOPE");
    suspend(&gateway);
    let answer = send_request(&gateway, Wrong::default()).await;
    answer.is_problem(503, "MELMASTOON.TENANT.SUSPENDED");
}

async fn without_roles(gateway: &TestGateway, path: &str) -> Answer {
    let token = gateway.token(|claims| claims.roles.clear());
    let proof = gateway.proof(path.split('?').next().unwrap(), &token, |_| {});
    gateway.send(gateway.with(path, &format!("DPoP {token}"), &proof)).await
}

#[tokio::test]
async fn a_property_out_of_scope_is_reported_before_a_role_that_does_not_allow_it() {
    let gateway = TestGateway::open().await;
    let path = format!("{DASHBOARD}?propertyId={}", fresh::<PropertyId>());
    let answer = without_roles(&gateway, &path).await;
    answer.is_problem(403, "MELMASTOON.BFF.PROPERTY_OUT_OF_SCOPE");
    let answer =
        without_roles(&gateway, &format!("{DASHBOARD}?propertyId={}", gateway.property)).await;
    answer.is_problem(403, "MELMASTOON.BFF.ROLE_FORBIDDEN");
}

#[tokio::test]
async fn a_role_that_does_not_allow_it_is_reported_before_a_session_store_that_is_unavailable() {
    let redis_url = "redis://127.0.0.1:1/".to_owned();
    let gateway = TestGateway::build(TestOptions { redis_url, ..TestOptions::usual() }).await;
    let answer = without_roles(&gateway, STREAM).await;
    answer.is_problem(403, "MELMASTOON.BFF.ROLE_FORBIDDEN");
    let answer = gateway.send(gateway.request(STREAM)).await;
    answer.is_problem(503, "MELMASTOON.BFF.CACHE_UNAVAILABLE");
}
