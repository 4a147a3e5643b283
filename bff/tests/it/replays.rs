//! A repeat is checked anew: token, device, role and property scope, on every route that takes an
//! idempotency key.

use bff::http::endpoints::{ENDPOINTS, Endpoint};
use bff::mutation::attestation::{Purpose, Scope, issue};
use contracts::id::{
    FolioId, KeyCredentialId, LockDeviceId, PropertyId, RequestId, ReservationId, SessionId,
};
use contracts::upstream::iam::AccessTokenClaims;
use serde_json::{Value, json};
use service_kit::postgres::write;

use crate::attestations::principal;
use crate::desk::{BASE, Desk, fresh_key};
use crate::house::{Answer, House, fresh};
use crate::platform::{Command, Locks};

const OUT_OF_SCOPE: &str = "MELMASTOON.BFF.PROPERTY_OUT_OF_SCOPE";

/// One change through a route of the table, sent as often as a test likes.
#[derive(Debug, Clone)]
struct Change {
    endpoint: &'static Endpoint,
    path: String,
    body: Value,
    key: String,
    attestation: Option<String>,
}

impl Change {
    async fn of(endpoint: &'static Endpoint, desk: &Desk) -> Self {
        let (id, body) = target(endpoint);
        let path = endpoint.path.replace("{id}", &id).replace("{lockId}", &id);
        let query = format!("?propertyId={}", desk.house.property);
        let query = if endpoint.in_property { query.as_str() } else { "" };
        let attestation = match endpoint.second_factor {
            Some(scope) => Some(attested(&desk.house, scope).await),
            None => None,
        };
        Self { endpoint, path: format!("{BASE}{path}{query}"), body, key: fresh_key(), attestation }
    }

    async fn send(&self, desk: &Desk, change: impl FnOnce(&mut AccessTokenClaims)) -> Answer {
        let role = self.endpoint.roles.iter().next().unwrap();
        let request = desk.house.change(&self.path, |claims| {
            claims.roles = vec![role.name().to_owned()];
            change(claims);
        });
        let request = request.header("idempotency-key", &self.key);
        let request = match &self.attestation {
            Some(id) => request.header("x-mfa-attestation", id),
            None => request,
        };
        desk.house.send_json(request, &self.body).await
    }

    async fn is_done(&self, desk: &Desk) {
        let first = self.send(desk, |_| {}).await;
        assert!(first.status.is_success(), "{} {}", self.path, first.body);
    }

    async fn replays(&self, desk: &Desk, change: impl FnOnce(&mut AccessTokenClaims)) {
        let repeat = self.send(desk, change).await;
        assert!(repeat.headers.contains_key("idempotency-replayed"), "{}", repeat.body);
    }
}

/// Whoever adds a route that takes a key says here what is sent to it.
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

/// A second factor of this scope, for anything.
pub(crate) async fn attested(house: &House, scope: &str) -> String {
    let scope: Scope = serde_json::from_value(json!(scope)).unwrap();
    let purpose = Purpose { scope, resource: None, body_digest: None };
    let mut connection = house.gateway.database.connection().await.unwrap();
    let transaction = write(&mut connection, house.tenant).await.unwrap();
    let by = &house.gateway.env;
    let (caller, request) = (principal(house), fresh::<RequestId>());
    let issued = issue(&transaction, &caller, &purpose, request, by).await.unwrap();
    transaction.commit().await.unwrap();
    issued.id.to_string()
}

fn with_key() -> impl Iterator<Item = &'static Endpoint> {
    ENDPOINTS.iter().filter(|endpoint| endpoint.takes_key)
}

async fn open() -> Desk {
    let desk = Desk::open().await;
    desk.platform.locks(Locks::In(desk.house.property.to_string()));
    desk
}

#[tokio::test]
async fn on_every_route_a_repeat_by_an_operator_who_lost_the_property_or_the_role_is_403() {
    let mut tried = 0;
    for endpoint in with_key() {
        let desk = open().await;
        let change = Change::of(endpoint, &desk).await;
        change.is_done(&desk).await;
        let calls = desk.platform.seen().len();
        let moved = change.send(&desk, |claims| claims.property_ids = vec![other()]).await;
        moved.is_problem(403, OUT_OF_SCOPE);
        change
            .send(&desk, |claims| claims.property_ids.clear())
            .await
            .is_problem(403, OUT_OF_SCOPE);
        let demoted = change.send(&desk, |claims| claims.roles.clear()).await;
        demoted.is_problem(403, "MELMASTOON.BFF.ROLE_FORBIDDEN");
        change.replays(&desk, |claims| claims.property_ids.push(other())).await;
        assert_eq!(
            (desk.platform.seen().len(), desk.platform.effects()),
            (calls, 1),
            "{endpoint:?}"
        );
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
        let desk = open().await;
        let change = Change::of(endpoint, &desk).await;
        change.is_done(&desk).await;
        let device = change.send(&desk, |claims| claims.device_id = other().replace("ppt", "dev"));
        device.await.is_problem(403, "MELMASTOON.BFF.DEVICE_MISMATCH");
        let session = fresh::<SessionId>().to_string();
        change.replays(&desk, |claims| claims.sid = Some(session)).await;
        let expired = change.send(&desk, |claims| {
            claims.iat -= 1000;
            claims.exp = claims.iat + 1;
        });
        expired.await.is_problem(401, "MELMASTOON.BFF.SESSION_EXPIRED");
    }
}

/// A route whose request does not say in which property the change is made.
async fn check_in(desk: &Desk) -> Change {
    let endpoint = Endpoint::find("post", "/reservations/{id}/check-in").unwrap();
    Change::of(endpoint, desk).await
}

#[tokio::test]
async fn where_the_answer_says_the_property_that_property_alone_decides() {
    let desk = open().await;
    let (home, away) = (desk.house.property, other());
    desk.platform.says_property(&away);
    let change = check_in(&desk).await;
    let both = |claims: &mut AccessTokenClaims| {
        claims.property_ids = vec![home.to_string(), away.clone()];
    };
    assert!(change.send(&desk, both).await.status.is_success());
    change.send(&desk, |_| {}).await.is_problem(403, OUT_OF_SCOPE);
    change.replays(&desk, |claims| claims.property_ids = vec![away.clone()]).await;
}

#[tokio::test]
async fn while_the_property_is_unknown_the_whole_scope_of_the_first_must_be_left() {
    let desk = open().await;
    let (home, away) = (desk.house.property, other());
    let change = check_in(&desk).await;
    let both = |claims: &mut AccessTokenClaims| {
        claims.property_ids = vec![home.to_string(), away.clone()];
    };
    assert!(change.send(&desk, both).await.status.is_success());
    for left in [home.to_string(), away.clone()] {
        let narrowed = change.send(&desk, |claims| claims.property_ids = vec![left]).await;
        narrowed.is_problem(403, OUT_OF_SCOPE);
    }
    change.replays(&desk, both).await;
}

#[tokio::test]
async fn an_unfinished_change_is_neither_resumed_nor_waited_for_out_of_scope() {
    let desk = open().await;
    desk.platform.command(Command::Vanish);
    let change = check_in(&desk).await;
    change.send(&desk, |_| {}).await.is_problem(504, "MELMASTOON.BFF.UPSTREAM_TIMEOUT");
    let calls = desk.platform.seen().len();
    let moved = change.send(&desk, |claims| claims.property_ids = vec![other()]).await;
    moved.is_problem(403, OUT_OF_SCOPE);
    assert_eq!(desk.platform.seen().len(), calls);
    assert!(change.send(&desk, |_| {}).await.status.is_success());
}

#[tokio::test]
async fn a_row_from_before_scopes_were_kept_replays_as_it_did() {
    let desk = open().await;
    let change = check_in(&desk).await;
    change.is_done(&desk).await;
    desk.house.database.run("UPDATE bff.idempotency SET property_ids = NULL").await;
    change.replays(&desk, |claims| claims.property_ids = vec![other()]).await;
}
