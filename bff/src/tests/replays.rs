//! A repeat is authorized again: token, device, role and property scope, on every route with an
//! idempotency key.

use contracts::id::{
    FolioId, KeyCredentialId, LockDeviceId, PropertyId, RequestId, ReservationId, SessionId,
};
use contracts::upstream::iam::AccessTokenClaims;
use serde_json::{Value, json};
use service_kit::postgres::write;

use crate::http::endpoints::{ENDPOINTS, Endpoint};
use crate::mutation::attestation::{Purpose, Scope, issue};
use crate::tests::attestations::principal;
use crate::tests::fake_upstreams::{Command, Locks};
use crate::tests::fixture::{BASE, Fixture, fresh_key};
use crate::tests::test_gateway::{Answer, TestGateway, fresh};

const OUT_OF_SCOPE: &str = "MELMASTOON.BFF.PROPERTY_OUT_OF_SCOPE";

/// A mutation of the table that a test can repeat.
#[derive(Debug, Clone)]
struct Change {
    endpoint: &'static Endpoint,
    path: String,
    body: Value,
    key: String,
    attestation: Option<String>,
}

impl Change {
    async fn of(endpoint: &'static Endpoint, fixture: &Fixture) -> Self {
        let (id, body) = target(endpoint);
        let path = endpoint.path.replace("{id}", &id).replace("{lockId}", &id);
        let query = format!("?propertyId={}", fixture.gateway.property);
        let query = if endpoint.in_property { query.as_str() } else { "" };
        let attestation = match endpoint.second_factor {
            Some(scope) => Some(attested(&fixture.gateway, scope).await),
            None => None,
        };
        Self { endpoint, path: format!("{BASE}{path}{query}"), body, key: fresh_key(), attestation }
    }

    async fn send(&self, fixture: &Fixture, change: impl FnOnce(&mut AccessTokenClaims)) -> Answer {
        let role = self.endpoint.roles.iter().next().unwrap();
        let request = fixture.gateway.change(&self.path, |claims| {
            claims.roles = vec![role.name().to_owned()];
            change(claims);
        });
        let request = request.header("idempotency-key", &self.key);
        let request = match &self.attestation {
            Some(id) => request.header("x-mfa-attestation", id),
            None => request,
        };
        fixture.gateway.send_json(request, &self.body).await
    }

    async fn is_done(&self, fixture: &Fixture) {
        let first = self.send(fixture, |_| {}).await;
        assert!(first.status.is_success(), "{} {}", self.path, first.body);
    }

    async fn replays(&self, fixture: &Fixture, change: impl FnOnce(&mut AccessTokenClaims)) {
        let repeat = self.send(fixture, change).await;
        assert!(repeat.headers.contains_key("idempotency-replayed"), "{}", repeat.body);
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

/// An attestation of this scope, for any resource.
pub(crate) async fn attested(gateway: &TestGateway, scope: &str) -> String {
    let scope: Scope = serde_json::from_value(json!(scope)).unwrap();
    let purpose = Purpose { scope, resource: None, body_digest: None };
    let mut connection = gateway.state.database.connection().await.unwrap();
    let transaction = write(&mut connection, gateway.tenant).await.unwrap();
    let by = &gateway.state.env;
    let (caller, request) = (principal(gateway), fresh::<RequestId>());
    let issued = issue(&transaction, &caller, &purpose, request, by).await.unwrap();
    transaction.commit().await.unwrap();
    issued.id.to_string()
}

fn with_key() -> impl Iterator<Item = &'static Endpoint> {
    ENDPOINTS.iter().filter(|endpoint| endpoint.takes_key)
}

async fn open() -> Fixture {
    let fixture = Fixture::open().await;
    fixture.fake.locks(Locks::In(fixture.gateway.property.to_string()));
    fixture
}

#[tokio::test]
async fn on_every_route_a_repeat_by_an_operator_who_lost_the_property_or_the_role_is_403() {
    let mut tried = 0;
    for endpoint in with_key() {
        let fixture = open().await;
        let change = Change::of(endpoint, &fixture).await;
        change.is_done(&fixture).await;
        let calls = fixture.fake.seen().len();
        let moved = change.send(&fixture, |claims| claims.property_ids = vec![other()]).await;
        moved.is_problem(403, OUT_OF_SCOPE);
        change
            .send(&fixture, |claims| claims.property_ids.clear())
            .await
            .is_problem(403, OUT_OF_SCOPE);
        let demoted = change.send(&fixture, |claims| claims.roles.clear()).await;
        demoted.is_problem(403, "MELMASTOON.BFF.ROLE_FORBIDDEN");
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
            change.send(&fixture, |claims| claims.device_id = other().replace("ppt", "dev"));
        device.await.is_problem(403, "MELMASTOON.BFF.DEVICE_MISMATCH");
        let session = fresh::<SessionId>().to_string();
        change.replays(&fixture, |claims| claims.sid = Some(session)).await;
        let expired = change.send(&fixture, |claims| {
            claims.iat -= 1000;
            claims.exp = claims.iat + 1;
        });
        expired.await.is_problem(401, "MELMASTOON.BFF.SESSION_EXPIRED");
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
    assert!(change.send(&fixture, both).await.status.is_success());
    change.send(&fixture, |_| {}).await.is_problem(403, OUT_OF_SCOPE);
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
    assert!(change.send(&fixture, both).await.status.is_success());
    for left in [home.to_string(), away.clone()] {
        let narrowed = change.send(&fixture, |claims| claims.property_ids = vec![left]).await;
        narrowed.is_problem(403, OUT_OF_SCOPE);
    }
    change.replays(&fixture, both).await;
}

#[tokio::test]
async fn an_unfinished_change_is_neither_resumed_nor_waited_for_out_of_scope() {
    let fixture = open().await;
    fixture.fake.command(Command::Vanish);
    let change = check_in(&fixture).await;
    change.send(&fixture, |_| {}).await.is_problem(504, "MELMASTOON.BFF.UPSTREAM_TIMEOUT");
    let calls = fixture.fake.seen().len();
    let moved = change.send(&fixture, |claims| claims.property_ids = vec![other()]).await;
    moved.is_problem(403, OUT_OF_SCOPE);
    assert_eq!(fixture.fake.seen().len(), calls);
    assert!(change.send(&fixture, |_| {}).await.status.is_success());
}

#[tokio::test]
async fn a_row_from_before_scopes_were_kept_replays_as_it_did() {
    let fixture = open().await;
    let change = check_in(&fixture).await;
    change.is_done(&fixture).await;
    fixture.gateway.database.run("UPDATE bff.idempotency SET property_ids = NULL").await;
    change.replays(&fixture, |claims| claims.property_ids = vec![other()]).await;
}
