//! Keys of doors: nothing is asked of lock-integration that is not written down before, and what
//! came of it is written down after.

use bff::config::ATTESTATION_LIFETIME;
use bff::mutation::attestation::{Purpose, Scope, issue};
use contracts::id::{AttestationId, KeyCredentialId, LockDeviceId, PropertyId, RequestId};
use futures_util::future::join_all;
use serde_json::{Value, json};
use service_kit::postgres::write;
use upstream_clients::{BaseUrls, Limits, Upstreams};

use crate::attestations::principal;
use crate::desk::{BASE, Desk, fresh_key};
use crate::house::{Answer, fresh};
use crate::platform::{Command, Locks, refusal};

const USED: &str = "MELMASTOON.BFF.MFA_INVALID_OR_USED";
const AWAY: &str = "MELMASTOON.BFF.UPSTREAM_UNAVAILABLE";

/// A desk in the property where all locks are.
pub(crate) async fn open() -> Desk {
    let desk = Desk::open().await;
    desk.platform.locks(Locks::In(desk.house.property.to_string()));
    desk
}

/// One action, sent as often as a test likes.
#[derive(Debug, Clone)]
pub(crate) struct Act {
    pub(crate) lock: LockDeviceId,
    pub(crate) key: String,
    verb: &'static str,
    body: Value,
    attestation: Option<AttestationId>,
}

impl Act {
    pub(crate) fn issue() -> Self {
        let guest = json!({"id": "gst_01K0000000000000000000000A", "displayName": "Mina Rahimi"});
        let body = json!({
            "reservationId": "rsv_01K0000000000000000000000A",
            "roomIds": ["rom_01K0000000000000000000000A"],
            "validFrom": "2026-11-21T12:00:00.000Z", "validUntil": "2026-11-22T08:00:00.000Z",
            "preferredKinds": ["rfid_card"], "guest": guest,
        });
        Self { lock: fresh(), key: fresh_key(), verb: "issue-key", body, attestation: None }
    }

    fn revoke(attestation: Option<AttestationId>) -> Self {
        let body = json!({"keyCredentialId": fresh::<KeyCredentialId>(), "reason": "lost"});
        Self { verb: "revoke-key", body, attestation, ..Self::issue() }
    }

    pub(crate) async fn send(&self, desk: &Desk) -> Answer {
        self.send_as(desk, "front_desk").await
    }

    async fn send_as(&self, desk: &Desk, role: &str) -> Answer {
        let path = format!("{BASE}/locks/{}/{}", self.lock, self.verb);
        let request = desk.house.change(&path, |claims| claims.roles = vec![role.to_owned()]);
        let request = request.header("idempotency-key", &self.key);
        let request = match &self.attestation {
            Some(id) => request.header("x-mfa-attestation", id.as_str()),
            None => request,
        };
        desk.house.send_json(request, &self.body).await
    }
}

/// A factor shown for one lock.
async fn attested(desk: &Desk, lock: LockDeviceId) -> AttestationId {
    let purpose =
        Purpose { scope: Scope::LockRevoke, resource: Some(lock.to_string()), body_digest: None };
    let mut connection = desk.house.gateway.database.connection().await.unwrap();
    let transaction = write(&mut connection, desk.house.tenant).await.unwrap();
    let by = &desk.house.gateway.env;
    let caller = principal(&desk.house);
    let issued = issue(&transaction, &caller, &purpose, fresh::<RequestId>(), by).await.unwrap();
    transaction.commit().await.unwrap();
    issued.id
}

/// This of every row of the ledger, in the chain's order.
pub(crate) async fn rows(desk: &Desk, what: &str) -> Vec<String> {
    let sql = format!("SELECT {what} FROM bff.lock_action_proxy_audit ORDER BY sequence");
    desk.house.rows(&sql).await
}

fn is_replay(answer: &Answer) -> bool {
    answer.headers.contains_key("idempotency-replayed")
}

#[tokio::test]
async fn a_key_is_issued_once_and_its_rows_say_everything_of_it() {
    let desk = open().await;
    let act = Act::issue();
    let first = act.send(&desk).await;
    assert_eq!(first.status, 201, "{}", first.body);
    let again = act.send(&desk).await;
    assert!(is_replay(&again) && again.body == first.body);
    assert_eq!((desk.platform.seen().len(), desk.platform.effects()), (1, 1));
    let house = &desk.house;
    let envelope = "concat_ws(' ', sequence, action, phase, property_id, lock_id, operator_id,
                              device_id, roles::text, idempotency_key, detail->>'vendor')";
    let told = |number: u8, phase: &str| {
        format!(
            "{number} issue_key {phase} {} {} {} {} {{front_desk}} {} ttlock",
            house.property, act.lock, house.operator, house.device, act.key
        )
    };
    assert_eq!(rows(&desk, envelope).await, [told(1, "requested"), told(2, "success")]);
    let key = first.body["keyCredentialId"].as_str().unwrap();
    let found = format!(
        "SELECT phase FROM bff.lock_action_proxy_audit
         WHERE detail->>'keyCredentialId' = '{key}' AND trace_id IS NOT NULL
           AND request_id = '{}' AND session_id IS NOT NULL",
        first.headers["x-request-id"].to_str().unwrap()
    );
    assert_eq!(house.rows(&found).await, ["success"]);
    assert_eq!(desk.ledger("action || ' ' || outcome").await.len(), 2);
}

#[tokio::test]
async fn nothing_is_asked_of_lock_integration_when_the_first_row_is_not_written() {
    let desk = open().await;
    let forbid = "ALTER TABLE bff.lock_action_proxy_audit
                  ADD CONSTRAINT no_more CHECK (phase <> 'requested') NOT VALID";
    desk.house.database.run(forbid).await;
    let act = Act::issue();
    act.send(&desk).await.is_problem(500, "MELMASTOON.GENERAL.INTERNAL");
    assert!(desk.platform.seen().is_empty());
    assert!(desk.house.rows("SELECT state FROM bff.idempotency").await.is_empty(), "no claim");
    let allow = "ALTER TABLE bff.lock_action_proxy_audit DROP CONSTRAINT no_more";
    desk.house.database.run(allow).await;
    assert_eq!(act.send(&desk).await.status, 201);
    assert_eq!(rows(&desk, "phase").await, ["requested", "success"]);
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_unknown_and_a_repeat_finds_out_without_a_second_key() {
    let desk = open().await;
    desk.platform.command(Command::Vanish);
    let act = Act::issue();
    act.send(&desk).await.is_problem(504, "MELMASTOON.BFF.UPSTREAM_TIMEOUT");
    let answer = act.send(&desk).await;
    assert_eq!((answer.status.as_u16(), is_replay(&answer)), (201, false), "{}", answer.body);
    assert_eq!((desk.platform.seen().len(), desk.platform.effects()), (2, 1));
    let phases = rows(&desk, "phase || ' ' || (action_id = id)").await;
    assert_eq!(phases, ["requested true", "unknown false", "requested true", "success false"]);
}

#[tokio::test]
async fn an_error_and_a_refusal_of_lock_integration_are_failures() {
    let desk = open().await;
    desk.platform.command(Command::Fail(503));
    let act = Act::issue();
    act.send(&desk).await.is_problem(502, AWAY);
    assert_eq!(act.send(&desk).await.status, 201, "a repeat tries again");
    let refused = Act::issue();
    desk.platform.command(Command::Refuse(refusal(422, "MELMASTOON.LOCK.KEY_INVALID")));
    refused.send(&desk).await.is_problem(422, "MELMASTOON.LOCK.KEY_INVALID");
    assert!(is_replay(&refused.send(&desk).await));
    let phases = rows(&desk, "phase").await;
    assert_eq!(phases, ["requested", "failure", "requested", "success", "requested", "failure"]);
}

#[tokio::test]
async fn an_answer_nobody_can_read_leaves_it_open() {
    let desk = open().await;
    desk.platform.command(Command::Drift);
    Act::issue().send(&desk).await.is_problem(502, "MELMASTOON.BFF.SCHEMA_DRIFT");
    assert_eq!(rows(&desk, "phase").await, ["requested", "unknown"]);
}

#[tokio::test]
async fn with_lock_integration_away_a_known_lock_is_still_somebody_s_and_an_unknown_one_nobody_s() {
    let mut desk = open().await;
    let known = Act::issue();
    assert_eq!(known.send(&desk).await.status, 201);
    let nowhere = BaseUrls::from([(
        contracts::upstream::Upstream::Lock,
        "http://127.0.0.1:1/".parse().unwrap(),
    )]);
    desk.house = desk.house.with_part(|gateway| {
        gateway.upstreams = Upstreams::new(&nowhere, Limits::of).unwrap().into();
    });
    let again = Act { key: fresh_key(), ..known.clone() };
    again.send(&desk).await.is_problem(502, AWAY);
    Act::issue().send(&desk).await.is_problem(502, AWAY);
    assert!(is_replay(&known.send(&desk).await), "what was done is told all the same");
    let home = desk.house.property;
    let rows = rows(&desk, "phase || ' ' || coalesce(property_id, 'nowhere')").await;
    let of = |phase: &str, place: &str| format!("{phase} {place}");
    assert_eq!(
        rows[2..],
        [
            of("requested", home.as_str()),
            of("failure", home.as_str()),
            of("requested", "nowhere"),
            of("failure", "nowhere")
        ]
    );
}

#[tokio::test]
async fn a_slow_word_on_where_a_lock_is_keeps_no_known_lock_from_working() {
    let desk = open().await;
    let act = Act::issue();
    assert_eq!(act.send(&desk).await.status, 201);
    desk.platform.locks(Locks::Ill);
    assert_eq!(Act { key: fresh_key(), ..act }.send(&desk).await.status, 201);
    // One that was never used is nowhere: nothing is sent.
    Act::issue().send(&desk).await.is_problem(502, AWAY);
    assert_eq!(desk.platform.seen().len(), 2);
}

#[tokio::test]
async fn another_tenant_s_lock_does_not_exist_and_another_property_s_is_out_of_scope() {
    let desk = open().await;
    desk.platform.locks(Locks::None);
    let act = Act::issue();
    act.send(&desk).await.is_problem(404, "MELMASTOON.GENERAL.RESOURCE_NOT_FOUND");
    desk.platform.locks(Locks::In(fresh::<PropertyId>().to_string()));
    // Said before the role and before the second factor.
    for act in [act, Act::revoke(None)] {
        let answer = act.send_as(&desk, "housekeeping").await;
        answer.is_problem(403, "MELMASTOON.BFF.PROPERTY_OUT_OF_SCOPE");
    }
    assert!(desk.platform.seen().is_empty() && rows(&desk, "id").await.is_empty());
}

#[tokio::test]
async fn a_key_is_revoked_with_a_second_factor_that_is_good_once_and_stands_in_its_rows() {
    let desk = open().await;
    Act::revoke(None).send(&desk).await.is_problem(401, "MELMASTOON.BFF.MFA_REQUIRED");
    let mut act = Act::revoke(None);
    let attestation = attested(&desk, act.lock).await;
    act.attestation = Some(attestation);
    let first = act.send(&desk).await;
    assert_eq!((first.status.as_u16(), &first.body["state"]), (200, &json!("revoked")));
    assert_eq!(first.body["keyCredentialId"], act.body["keyCredentialId"]);
    desk.pass(ATTESTATION_LIFETIME.as_secs() + 1);
    assert!(is_replay(&act.send(&desk).await));
    let seen = desk.platform.seen();
    assert_eq!((seen.len(), &seen[0].body), (1, &json!({"reason": "lost"})));
    let told = rows(&desk, "concat_ws(' ', action, phase, mfa_attestation_id)").await;
    assert_eq!(
        told,
        [
            format!("revoke_key requested {attestation}"),
            format!("revoke_key success {attestation}")
        ]
    );
}

#[tokio::test]
async fn of_many_revocations_at_once_with_one_factor_one_is_done_and_no_other_lock_takes_it() {
    let desk = open().await;
    desk.warm_up().await;
    let lock = fresh();
    let id = attested(&desk, lock).await;
    Act::revoke(Some(id)).send(&desk).await.is_problem(401, USED);
    let acts: Vec<_> = (0..8).map(|_| Act { lock, ..Act::revoke(Some(id)) }).collect();
    let answers = join_all(acts.iter().map(|act| act.send(&desk))).await;
    let done = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!((done, desk.platform.effects(), rows(&desk, "id").await.len()), (1, 1, 2));
}

#[tokio::test]
async fn an_action_that_cannot_be_read_is_written_nowhere() {
    let desk = open().await;
    let mut late = Act::issue();
    late.body["guest"]["surname"] = json!("x");
    let mut act = Act::revoke(None);
    act.attestation = Some(attested(&desk, act.lock).await);
    act.body["reason"] = json!("");
    for act in [late, act] {
        let answer = act.send(&desk).await;
        answer.is_problem(400, "MELMASTOON.GENERAL.VALIDATION_FAILED");
    }
    assert!(desk.platform.seen().is_empty() && rows(&desk, "id").await.is_empty());
}
