//! A repeat is authorized again: token, device, role and property scope, on every route with an
//! idempotency key.

use contracts::id::{
    AttestationId, FolioId, KeyCredentialId, LockDeviceId, PropertyId, ReservationId, SessionId,
};
use contracts::upstream::iam::AccessTokenClaims;
use serde_json::{Value, json};

use crate::http::endpoints::{ENDPOINTS, Endpoint};
use crate::tests::call::TestCall;
use crate::tests::fake_upstreams::Command;
use crate::tests::fixture::{BASE, Fixture, fresh_key};
use crate::tests::locks::open;
use crate::tests::test_gateway::fresh;

const OUT_OF_SCOPE: &str = "MELMASTOON.BFF.PROPERTY_OUT_OF_SCOPE";

/// A mutation of the table that a test can repeat.
#[derive(Debug, Clone)]
struct Change {
    endpoint: &'static Endpoint,
    path: String,
    body: Value,
    key: String,
    attestation: Option<AttestationId>,
}

impl Change {
    async fn of(endpoint: &'static Endpoint, fixture: &Fixture) -> Self {
        let (id, body) = target(endpoint);
        let path = endpoint.path.replace("{id}", &id).replace("{lockId}", &id);
        let query = format!("?propertyId={}", fixture.gateway.property);
        let query = if endpoint.in_property { query.as_str() } else { "" };
        let attestation = fixture.gateway.second_factor(endpoint).await;
        Self { endpoint, path: format!("{BASE}{path}{query}"), body, key: fresh_key(), attestation }
    }

    fn send<'a>(&self, fixture: &'a Fixture) -> TestCall<'a> {
        let role = self.endpoint.roles.iter().next().unwrap();
        let call = fixture.gateway.post(&self.path).role(role.name()).key(&self.key);
        call.attestation(self.attestation).json(&self.body)
    }

    async fn is_done(&self, fixture: &Fixture) {
        let first = self.send(fixture).await;
        assert!(first.status.is_success(), "{} {}", self.path, first.body);
    }

    async fn replays(&self, fixture: &Fixture, change: impl FnOnce(&mut AccessTokenClaims)) {
        let repeat = self.send(fixture).claims(change).await;
        assert!(repeat.is_replay(), "{}", repeat.body);
    }
}

/// Request of each route with an idempotency key; add new routes here.
fn target(endpoint: &Endpoint) -> (String, Value) {
    let guest = json!({"id": "gst_01K0000000000000000000000A", "displayName": "Mina Rahimi"});
    match endpoint.path {
        "/reservations/{id}/check-in" => (fresh::<ReservationId>().to_string(), json!({})),
        "/folios/{id}/refunds" => {
            let amount = json!({"amountMicro": "1000000", "currency": "AFN"});
            (fresh::<FolioId>().to_string(), json!({"amount": amount, "reason": "minibar"}))
        }
        "/locks/{lockId}/issue-key" => (
            fresh::<LockDeviceId>().to_string(),
            json!({"reservationId": "rsv_01K0000000000000000000000A",
                   "roomIds": ["rom_01K0000000000000000000000A"],
                   "validFrom": "2026-11-21T12:00:00.000Z", "validUntil": "2026-11-22T08:00:00.000Z",
                   "preferredKinds": ["rfid_card"], "guest": guest}),
        ),
        "/locks/{lockId}/revoke-key" => (
            fresh::<LockDeviceId>().to_string(),
            json!({"keyCredentialId": fresh::<KeyCredentialId>(), "reason": "lost"}),
        ),
        other => panic!("{other} takes an idempotency key: say here what is sent to it"),
    }
}

fn with_key() -> impl Iterator<Item = &'static Endpoint> {
    ENDPOINTS.iter().filter(|endpoint| endpoint.takes_key)
}

#[tokio::test]
async fn on_every_route_a_repeat_by_an_operator_who_lost_the_property_or_the_role_is_403() {
    let mut tried = 0;
    for endpoint in with_key() {
        let fixture = open().await;
        let change = Change::of(endpoint, &fixture).await;
        change.is_done(&fixture).await;
        let calls = fixture.fake.seen().len();
        let moved = change.send(&fixture).claims(|claims| claims.property_ids = vec![other()]);
        moved.await.problem(403, OUT_OF_SCOPE);
        let dismissed = change.send(&fixture).claims(|claims| claims.property_ids.clear());
        dismissed.await.problem(403, OUT_OF_SCOPE);
        let demoted = change.send(&fixture).claims(|claims| claims.roles.clear());
        demoted.await.problem(403, "MELMASTOON.BFF.ROLE_FORBIDDEN");
        change.replays(&fixture, |claims| claims.property_ids.push(other())).await;
        assert_eq!((fixture.fake.seen().len(), fixture.fake.effects()), (calls, 1), "{endpoint:?}");
        tried += 1;
    }
    assert!(tried >= 4, "{tried}");
}

fn other() -> String {
    fresh::<PropertyId>().to_string()
}

#[tokio::test]
async fn on_every_route_a_repeat_from_another_device_or_session_of_another_is_no_replay() {
    for endpoint in with_key() {
        let fixture = open().await;
        let change = Change::of(endpoint, &fixture).await;
        change.is_done(&fixture).await;
        let device =
            change.send(&fixture).claims(|claims| claims.device_id = other().replace("ppt", "dev"));
        device.await.problem(403, "MELMASTOON.BFF.DEVICE_MISMATCH");
        let session = fresh::<SessionId>().to_string();
        change.replays(&fixture, |claims| claims.sid = Some(session)).await;
        let expired = change.send(&fixture).claims(|claims| {
            claims.iat -= 1000;
            claims.exp = claims.iat + 1;
        });
        expired.await.problem(401, "MELMASTOON.BFF.SESSION_EXPIRED");
    }
}

/// Whether the request does not name the property.
async fn check_in(fixture: &Fixture) -> Change {
    let endpoint = Endpoint::find("post", "/reservations/{id}/check-in").unwrap();
    Change::of(endpoint, fixture).await
}

#[tokio::test]
async fn if_the_response_names_the_property_only_that_property_is_checked() {
    let fixture = open().await;
    let (home, away) = (fixture.gateway.property, other());
    fixture.fake.says_property(&away);
    let change = check_in(&fixture).await;
    let both = |claims: &mut AccessTokenClaims| {
        claims.property_ids = vec![home.to_string(), away.clone()];
    };
    assert!(change.send(&fixture).claims(both).await.status.is_success());
    change.send(&fixture).await.problem(403, OUT_OF_SCOPE);
    change.replays(&fixture, |claims| claims.property_ids = vec![away.clone()]).await;
}

#[tokio::test]
async fn while_the_property_is_unknown_a_repeat_needs_the_whole_scope_of_the_first() {
    let fixture = open().await;
    let (home, away) = (fixture.gateway.property, other());
    let change = check_in(&fixture).await;
    let both = |claims: &mut AccessTokenClaims| {
        claims.property_ids = vec![home.to_string(), away.clone()];
    };
    assert!(change.send(&fixture).claims(both).await.status.is_success());
    for left in [home.to_string(), away.clone()] {
        let narrowed = change.send(&fixture).claims(|claims| claims.property_ids = vec![left]);
        narrowed.await.problem(403, OUT_OF_SCOPE);
    }
    change.replays(&fixture, both).await;
}

#[tokio::test]
async fn an_unfinished_change_is_neither_resumed_nor_waited_for_out_of_scope() {
    let fixture = open().await;
    fixture.fake.command(Command::Vanish);
    let change = check_in(&fixture).await;
    change.send(&fixture).await.problem(504, "MELMASTOON.BFF.UPSTREAM_TIMEOUT");
    let calls = fixture.fake.seen().len();
    let moved = change.send(&fixture).claims(|claims| claims.property_ids = vec![other()]);
    moved.await.problem(403, OUT_OF_SCOPE);
    assert_eq!(fixture.fake.seen().len(), calls);
    assert!(change.send(&fixture).await.status.is_success());
}

#[tokio::test]
async fn a_row_from_before_scopes_were_kept_replays_as_it_did() {
    let fixture = open().await;
    let change = check_in(&fixture).await;
    change.is_done(&fixture).await;
    fixture.gateway.database.run("UPDATE bff.idempotency SET property_ids = NULL").await;
    change.replays(&fixture, |claims| claims.property_ids = vec![other()]).await;
}
