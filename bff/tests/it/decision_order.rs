//! The decision order of gateway-api section 3: where two neighbouring steps would both answer,
//! the earlier one does.

use contracts::clock::{Clock, Entropy};
use contracts::id::{DeviceId, Id, PropertyId, RequestId};
use serde_json::json;

use crate::house::{Answer, House};

const DASHBOARD: &str = "/api/bff/backoffice/v1/dashboard";
const REVOKE: &str = "/internal/sessions/revoke";

fn fresh<T: Id>() -> T {
    T::generate(&Clock::system(), &Entropy::system())
}

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

#[tokio::test]
async fn another_device_is_said_before_a_property_out_of_scope() {
    let house = House::open().await;
    let answer = ask(&house, Wrong { device: true, ..Wrong::default() }).await;
    answer.is_problem(403, "MELMASTOON.BFF.DEVICE_MISMATCH");
    let answer = ask(&house, Wrong::default()).await;
    answer.is_problem(403, "MELMASTOON.BFF.PROPERTY_OUT_OF_SCOPE");
}
