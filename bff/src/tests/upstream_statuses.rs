//! Mapping of each upstream status on each kind of route: only the status decides, and only iam can
//! cause a 401.

use contracts::id::ReservationId;
use contracts::problem::Problem;
use serde_json::json;

use crate::tests::fake_upstreams::{Command, Locks, refusal};
use crate::tests::fixture::{BASE, Fixture, fresh_key};
use crate::tests::iam;
use crate::tests::locks::{self, Act};
use crate::tests::sync_service::{Behavior, SyncService};
use crate::tests::test_gateway::{TestResponse, fresh};

const OWN: &str = "MELMASTOON.TEST.REFUSED";
const AWAY: &str = "MELMASTOON.BFF.UPSTREAM_UNAVAILABLE";
const SLOW: &str = "MELMASTOON.BFF.UPSTREAM_TIMEOUT";
/// Those of server errors last: they open the breaker. Reads are retried after 502 and 503.
const STATUSES: [u16; 19] =
    [300, 302, 400, 401, 402, 403, 404, 407, 408, 409, 410, 418, 422, 426, 429, 499, 500, 501, 599];
/// For a second factor: so few are about the code that they do not lock the operator.
const OF_IAM: [u16; 13] = [300, 302, 400, 401, 403, 404, 407, 408, 422, 429, 500, 503, 599];

/// A refusal that asks to wait.
fn refused(status: u16) -> Box<Problem> {
    Box::new(refusal(status, OWN).with_retry_after(7))
}

/// Of an upstream that speaks of the request.
fn expected(status: u16) -> (u16, &'static str) {
    match status {
        401 | 407 => (502, AWAY),
        408 => (504, SLOW),
        400..500 => (status, OWN),
        _ => (502, AWAY),
    }
}

#[track_caller]
fn is_as_expected(status: u16, response: TestResponse) {
    let (expected_status, code) = expected(status);
    let response = response.problem(expected_status, code);
    assert!(!response.headers.contains_key("www-authenticate"), "{status}");
    if status == 429 {
        assert_eq!(response.headers["retry-after"], "7");
    }
}

#[tokio::test]
async fn a_read_and_a_change_pass_on_what_is_about_the_request_alone() {
    let fixture = Fixture::open().await;
    for status in STATUSES {
        fixture.fake.command(Command::Refuse(refused(status)));
        let path = format!("{BASE}/arrivals?propertyId={}", fixture.gateway.property);
        is_as_expected(status, fixture.gateway.get(path).await);
        if status >= 500 {
            continue;
        }
        fixture.fake.command(Command::Refuse(refused(status)));
        let path = format!("{BASE}/reservations/{}/check-in", fresh::<ReservationId>());
        let change = fixture.gateway.post(path).key(fresh_key()).json(&json!({}));
        is_as_expected(status, change.await);
    }
}

#[tokio::test]
async fn a_status_without_a_problem_does_not_refuse_the_request() {
    let fixture = Fixture::open().await;
    for status in STATUSES {
        fixture.fake.command(Command::Fail(status));
        let path = format!("{BASE}/arrivals?propertyId={}", fixture.gateway.property);
        let response = fixture.gateway.get(&path).await;
        match status {
            408 => response.problem(504, SLOW),
            429 => response.problem(429, "MELMASTOON.BFF.RATE_LIMITED"),
            _ => response.problem(502, AWAY),
        };
    }
}

#[tokio::test]
async fn the_lookup_of_a_lock_follows_the_same_rules() {
    let fixture = locks::open().await;
    for status in STATUSES {
        fixture.fake.locks(Locks::Refusing(refused(status)));
        is_as_expected(status, Act::issue().send(&fixture).await);
    }
}

#[tokio::test]
async fn a_handshake_follows_the_same_rules() {
    let (gateway, service) = SyncService::with_gateway().await;
    let path = format!("{BASE}/sync/handshake");
    for status in STATUSES {
        service.set_behavior(Behavior::Refuses(status, OWN));
        let (expected_status, code) = expected(status);
        let response = gateway.post(&path).json(&json!({})).await.problem(expected_status, code);
        assert!(!response.headers.contains_key("www-authenticate"), "{status}");
    }
}

#[tokio::test]
async fn only_iam_can_cause_a_401() {
    let (gateway, iam) = iam::gateway().await;
    let path = format!("{BASE}/auth/mfa/step-up");
    let body = json!({"method": "totp", "code": "123456", "scope": "folio.refund"});
    for status in OF_IAM {
        iam.refuses(status, OWN);
        let (expected_status, code) = if status == 401 { (401, OWN) } else { expected(status) };
        let response = gateway.post(&path).json(&body).await.problem(expected_status, code);
        assert_eq!(response.headers.contains_key("www-authenticate"), status == 401, "{status}");
    }
    iam.refuses(401, "MELMASTOON.GENERAL.UNAUTHENTICATED");
    gateway.post(&path).json(&body).await.problem(502, AWAY);
}
