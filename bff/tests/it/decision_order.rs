//! The decision order of gateway-api section 3: where two neighbouring steps would both answer,
//! the earlier one does.

use bff::sessions::tenant_status::Statement;
use contracts::id::{DeviceId, OperatorId, PropertyId, RequestId};
use serde_json::json;

use crate::house::{Answer, House, Plan, fresh};

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

async fn ask(house: &House, wrong: Wrong) -> Answer {
    let token = house.token(|claims| {
        claims.iat -= 60;
        if wrong.expired {
            claims.exp = claims.iat + 1;
        }
    });
    let proof = house.proof(DASHBOARD, if wrong.proof { "another" } else { &token }, |_| {});
    let device: DeviceId = if wrong.device { fresh() } else { house.device };
    let path = format!("{DASHBOARD}?propertyId={}", fresh::<PropertyId>());
    let request = http::Request::get(path).header("dpop", proof);
    let request = request.header("x-device-id", device.as_str());
    let request = if wrong.no_authorization {
        request
    } else {
        request.header("authorization", format!("DPoP {token}"))
    };
    house.send(request).await
}

async fn revoke(house: &House) {
    let body =
        json!({"tenantId": house.tenant, "kind": "session", "id": house.session, "reason": "x"});
    let answer = house.order(REVOKE, fresh::<RequestId>().as_str(), &body).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn no_authorization_is_said_before_a_bad_proof() {
    let house = House::open().await;
    let answer =
        ask(&house, Wrong { no_authorization: true, proof: true, ..Wrong::default() }).await;
    answer.is_problem(401, "MELMASTOON.BFF.SESSION_REQUIRED");
}

#[tokio::test]
async fn a_bad_proof_is_said_before_an_expired_token_and_a_revoked_session() {
    let house = House::open().await;
    let answer = ask(&house, Wrong { proof: true, expired: true, ..Wrong::default() }).await;
    answer.is_problem(401, "MELMASTOON.BFF.DPOP_INVALID");
    revoke(&house).await;
    let answer = ask(&house, Wrong { proof: true, ..Wrong::default() }).await;
    answer.is_problem(401, "MELMASTOON.BFF.DPOP_INVALID");
}

#[tokio::test]
async fn an_expired_token_and_a_revoked_session_are_said_before_another_device() {
    let house = House::open().await;
    let answer = ask(&house, Wrong { expired: true, device: true, ..Wrong::default() }).await;
    answer.is_problem(401, "MELMASTOON.BFF.SESSION_EXPIRED");
    revoke(&house).await;
    let answer = ask(&house, Wrong { device: true, ..Wrong::default() }).await;
    answer.is_problem(401, "MELMASTOON.BFF.SESSION_EXPIRED");
}

fn suspend(house: &House) {
    let (tenant, stated_at) = (house.tenant, house.clock.now());
    house.gateway.standings.learn(Statement { tenant, suspended: true, stated_at });
}

/// A request whose token names a session that was opened for another operator.
async fn with_another_s_session(house: &House, path: &str) -> Answer {
    let session = house.session.to_string();
    let token = house.token(|claims| {
        claims.sub = fresh::<OperatorId>().to_string();
        claims.sid = Some(session);
    });
    let proof = house.proof(path.split('?').next().unwrap(), &token, |_| {});
    house.send(house.with(path, &format!("DPoP {token}"), &proof)).await
}

#[tokio::test]
async fn another_device_and_another_s_session_are_said_before_a_suspended_tenant() {
    let house = House::open().await;
    ask(&house, Wrong::default()).await;
    suspend(&house);
    let answer = ask(&house, Wrong { device: true, ..Wrong::default() }).await;
    answer.is_problem(403, "MELMASTOON.BFF.DEVICE_MISMATCH");
    let answer = with_another_s_session(&house, STREAM).await;
    answer.is_problem(403, "MELMASTOON.BFF.DEVICE_MISMATCH");
}

#[tokio::test]
async fn a_suspended_tenant_is_said_before_a_property_out_of_scope() {
    let house = House::open().await;
    let answer = ask(&house, Wrong::default()).await;
    answer.is_problem(403, "MELMASTOON.BFF.PROPERTY_OUT_OF_SCOPE");
    suspend(&house);
    let answer = ask(&house, Wrong::default()).await;
    answer.is_problem(503, "MELMASTOON.TENANT.SUSPENDED");
}

async fn without_roles(house: &House, path: &str) -> Answer {
    let token = house.token(|claims| claims.roles.clear());
    let proof = house.proof(path.split('?').next().unwrap(), &token, |_| {});
    house.send(house.with(path, &format!("DPoP {token}"), &proof)).await
}

#[tokio::test]
async fn a_property_out_of_scope_is_said_before_a_role_that_does_not_allow_it() {
    let house = House::open().await;
    let path = format!("{DASHBOARD}?propertyId={}", fresh::<PropertyId>());
    let answer = without_roles(&house, &path).await;
    answer.is_problem(403, "MELMASTOON.BFF.PROPERTY_OUT_OF_SCOPE");
    let answer = without_roles(&house, &format!("{DASHBOARD}?propertyId={}", house.property)).await;
    answer.is_problem(403, "MELMASTOON.BFF.ROLE_FORBIDDEN");
}

#[tokio::test]
async fn a_role_that_does_not_allow_it_is_said_before_a_session_tier_that_is_away() {
    let tier = "redis://127.0.0.1:1/".to_owned();
    let house = House::build(Plan { tier, ..Plan::usual() }).await;
    let answer = without_roles(&house, STREAM).await;
    answer.is_problem(403, "MELMASTOON.BFF.ROLE_FORBIDDEN");
    let answer = house.send(house.request(STREAM)).await;
    answer.is_problem(503, "MELMASTOON.BFF.CACHE_UNAVAILABLE");
}
