//! Lock actions: an audit row is written before lock-integration is called, and another with the
//! outcome after.

use contracts::id::{AttestationId, KeyCredentialId, LockDeviceId, PropertyId};
use contracts::upstream::Upstream;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::config::ATTESTATION_LIFETIME;
use crate::mutation::attestation::{Purpose, Scope};
use crate::tests::call::TestCall;
use crate::tests::fake_upstreams::{Command, Locks, refusal};
use crate::tests::fixture::{BASE, Fixture, fresh_key};
use crate::tests::test_gateway::fresh;

const USED: &str = "MELMASTOON.BFF.MFA_INVALID_OR_USED";
const AWAY: &str = "MELMASTOON.BFF.UPSTREAM_UNAVAILABLE";

/// A fixture in the property that has all locks.
pub(crate) async fn open() -> Fixture {
    let fixture = Fixture::open().await;
    fixture.fake.locks(Locks::In(fixture.gateway.property.to_string()));
    fixture
}

/// A lock action that a test can repeat.
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

    pub(crate) fn send<'a>(&self, fixture: &'a Fixture) -> TestCall<'a> {
        let call = fixture.gateway.post(format!("{BASE}/locks/{}/{}", self.lock, self.verb));
        call.key(&self.key).attestation(self.attestation).json(&self.body)
    }
}

/// An attestation for one lock.
async fn attested(fixture: &Fixture, lock: LockDeviceId) -> AttestationId {
    let (scope, resource) = (Scope::LockRevoke, Some(lock.to_string()));
    fixture.gateway.attested(&Purpose { scope, resource, body_digest: None }).await
}

/// Selects `what` from every audit row, in the chain's order.
pub(crate) async fn rows(fixture: &Fixture, what: &str) -> Vec<String> {
    let sql = format!("SELECT {what} FROM bff.lock_action_proxy_audit ORDER BY sequence");
    fixture.gateway.database.rows(&sql).await
}

#[tokio::test]
async fn a_key_is_issued_once_and_its_rows_say_everything_of_it() {
    let fixture = open().await;
    let act = Act::issue();
    let first = act.send(&fixture).await.status(201);
    let again = act.send(&fixture).await;
    assert!(again.is_replay() && again.body == first.body);
    assert_eq!((fixture.fake.seen().len(), fixture.fake.effects()), (1, 1));
    let gateway = &fixture.gateway;
    let envelope = "concat_ws(' ', sequence, action, phase, property_id, lock_id, operator_id,
                              device_id, roles::text, idempotency_key, detail->>'vendor')";
    let expected_row = |number: u8, phase: &str| {
        format!(
            "{number} issue_key {phase} {} {} {} {} {{front_desk}} {} ttlock",
            gateway.property, act.lock, gateway.operator, gateway.device, act.key
        )
    };
    assert_eq!(
        rows(&fixture, envelope).await,
        [expected_row(1, "requested"), expected_row(2, "success")]
    );
    let key = first.body["keyCredentialId"].as_str().unwrap();
    let found = format!(
        "SELECT phase FROM bff.lock_action_proxy_audit
         WHERE detail->>'keyCredentialId' = '{key}' AND trace_id IS NOT NULL
           AND request_id = '{}' AND session_id IS NOT NULL",
        first.header("x-request-id")
    );
    assert_eq!(gateway.database.rows(&found).await, ["success"]);
    assert_eq!(fixture.activity("action || ' ' || outcome").await.len(), 2);
}

#[tokio::test]
async fn lock_integration_is_not_called_if_the_first_row_is_not_written() {
    let fixture = open().await;
    let forbid = "ALTER TABLE bff.lock_action_proxy_audit
                  ADD CONSTRAINT no_more CHECK (phase <> 'requested') NOT VALID";
    fixture.gateway.database.run(forbid).await;
    let act = Act::issue();
    act.send(&fixture).await.problem(500, "MELMASTOON.GENERAL.INTERNAL");
    assert!(fixture.fake.seen().is_empty());
    assert!(
        fixture.gateway.database.rows("SELECT state FROM bff.idempotency").await.is_empty(),
        "no claim"
    );
    let allow = "ALTER TABLE bff.lock_action_proxy_audit DROP CONSTRAINT no_more";
    fixture.gateway.database.run(allow).await;
    act.send(&fixture).await.status(201);
    assert_eq!(rows(&fixture, "phase").await, ["requested", "success"]);
}

#[tokio::test]
async fn a_missing_response_is_unknown_and_a_repeat_learns_the_outcome_without_a_second_key() {
    let fixture = open().await;
    fixture.fake.command(Command::Vanish);
    let act = Act::issue();
    act.send(&fixture).await.problem(504, "MELMASTOON.BFF.UPSTREAM_TIMEOUT");
    assert!(!act.send(&fixture).await.status(201).is_replay());
    assert_eq!((fixture.fake.seen().len(), fixture.fake.effects()), (2, 1));
    let phases = rows(&fixture, "phase || ' ' || (action_id = id)").await;
    assert_eq!(phases, ["requested true", "unknown false", "requested true", "success false"]);
}

#[tokio::test]
async fn an_error_and_a_refusal_of_lock_integration_are_failures() {
    let fixture = open().await;
    fixture.fake.command(Command::Fail(503));
    let act = Act::issue();
    act.send(&fixture).await.problem(502, AWAY);
    assert_eq!(act.send(&fixture).await.status, 201, "a repeat tries again");
    let refused = Act::issue();
    fixture.fake.command(Command::Refuse(refusal(422, "MELMASTOON.LOCK.KEY_INVALID")));
    refused.send(&fixture).await.problem(422, "MELMASTOON.LOCK.KEY_INVALID");
    assert!(refused.send(&fixture).await.is_replay());
    let phases = rows(&fixture, "phase").await;
    assert_eq!(phases, ["requested", "failure", "requested", "success", "requested", "failure"]);
}

#[tokio::test]
async fn an_invalid_response_leaves_the_outcome_unknown() {
    let fixture = open().await;
    fixture.fake.command(Command::Drift);
    Act::issue().send(&fixture).await.problem(502, "MELMASTOON.BFF.SCHEMA_DRIFT");
    assert_eq!(rows(&fixture, "phase").await, ["requested", "unknown"]);
}

#[tokio::test]
async fn without_lock_integration_a_known_lock_keeps_its_location_and_an_unknown_one_has_none() {
    let mut fixture = open().await;
    let known = Act::issue();
    known.send(&fixture).await.status(201);
    fixture.gateway = fixture.gateway.asking(Upstream::Lock, "http://127.0.0.1:1");
    let again = Act { key: fresh_key(), ..known.clone() };
    again.send(&fixture).await.problem(502, AWAY);
    Act::issue().send(&fixture).await.problem(502, AWAY);
    assert!(known.send(&fixture).await.is_replay(), "the stored response is still sent");
    let home = fixture.gateway.property;
    let rows = rows(&fixture, "phase || ' ' || coalesce(property_id, 'nowhere')").await;
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
async fn a_slow_lookup_does_not_block_a_known_lock() {
    let fixture = open().await;
    let act = Act::issue();
    act.send(&fixture).await.status(201);
    fixture.fake.locks(Locks::Ill);
    Act { key: fresh_key(), ..act }.send(&fixture).await.status(201);
    // One that was never used is nowhere: nothing is sent.
    Act::issue().send(&fixture).await.problem(502, AWAY);
    assert_eq!(fixture.fake.seen().len(), 2);
}

#[tokio::test]
async fn another_tenant_s_lock_does_not_exist_and_another_property_s_is_out_of_scope() {
    let fixture = open().await;
    fixture.fake.locks(Locks::None);
    let act = Act::issue();
    act.send(&fixture).await.problem(404, "MELMASTOON.GENERAL.RESOURCE_NOT_FOUND");
    fixture.fake.locks(Locks::In(fresh::<PropertyId>().to_string()));
    // Said before the role and before the second factor.
    for act in [act, Act::revoke(None)] {
        let response = act.send(&fixture).role("housekeeping").await;
        response.problem(403, "MELMASTOON.BFF.PROPERTY_OUT_OF_SCOPE");
    }
    assert!(fixture.fake.seen().is_empty() && rows(&fixture, "id").await.is_empty());
}

#[tokio::test]
async fn a_key_is_revoked_with_a_second_factor_that_is_good_once_and_stands_in_its_rows() {
    let fixture = open().await;
    Act::revoke(None).send(&fixture).await.problem(401, "MELMASTOON.BFF.MFA_REQUIRED");
    let mut act = Act::revoke(None);
    let attestation = attested(&fixture, act.lock).await;
    act.attestation = Some(attestation);
    let first = act.send(&fixture).await;
    let first: Value = first.ok();
    assert_eq!(first["state"], "revoked");
    assert_eq!(first["keyCredentialId"], act.body["keyCredentialId"]);
    fixture.pass(ATTESTATION_LIFETIME.as_secs() + 1);
    assert!(act.send(&fixture).await.is_replay());
    let seen = fixture.fake.seen();
    assert_eq!((seen.len(), &seen[0].body), (1, &json!({"reason": "lost"})));
    let expected_row = rows(&fixture, "concat_ws(' ', action, phase, mfa_attestation_id)").await;
    assert_eq!(
        expected_row,
        [
            format!("revoke_key requested {attestation}"),
            format!("revoke_key success {attestation}")
        ]
    );
}

#[tokio::test]
async fn of_many_revocations_at_once_with_one_factor_one_is_done_and_no_other_lock_takes_it() {
    let fixture = open().await;
    fixture.warm_up().await;
    let lock = fresh();
    let id = attested(&fixture, lock).await;
    Act::revoke(Some(id)).send(&fixture).await.problem(401, USED);
    let acts: Vec<_> = (0..8).map(|_| Act { lock, ..Act::revoke(Some(id)) }).collect();
    let responses = join_all(acts.iter().map(|act| act.send(&fixture).into_future())).await;
    let done = responses.iter().filter(|response| response.status == 200).count();
    assert_eq!((done, fixture.fake.effects(), rows(&fixture, "id").await.len()), (1, 1, 2));
}

#[tokio::test]
async fn an_action_that_cannot_be_read_is_written_nowhere() {
    let fixture = open().await;
    let mut late = Act::issue();
    late.body["guest"]["surname"] = json!("x");
    let mut act = Act::revoke(None);
    act.attestation = Some(attested(&fixture, act.lock).await);
    act.body["reason"] = json!("");
    for act in [late, act] {
        act.send(&fixture).await.problem(400, "MELMASTOON.GENERAL.VALIDATION_FAILED");
    }
    assert!(fixture.fake.seen().is_empty() && rows(&fixture, "id").await.is_empty());
}

#[tokio::test]
async fn a_key_is_sent_to_no_telephone_number_that_is_not_e_164() {
    let desk = open().await;
    for number in
        ["0700000", "+", "+abc", " +93700", "+93\n", "\u{663}", "+0700", "93205550114", ""]
    {
        let mut act = Act::issue();
        act.body["guest"]["contact"] = json!({"phoneE164": number});
        let response = act.send(&desk).await.problem(400, "MELMASTOON.GENERAL.VALIDATION_FAILED");
        let field = &response.body["errors"][0]["field"];
        assert_eq!(field, "body.guest.contact.phoneE164", "{number:?}");
        assert!(response.body.to_string().contains("E.164"), "{}", response.body);
    }
    assert!(rows(&desk, "action").await.is_empty() && desk.fake.seen().is_empty());
    let mut act = Act::issue();
    act.body["guest"]["contact"] = json!({"phoneE164": "+93205550114"});
    act.send(&desk).await.status(201);
}
