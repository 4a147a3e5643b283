//! Refunds require a second factor, which permits one refund, once.

use contracts::id::{AttestationId, FolioId};
use futures_util::future::join_all;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::config::ATTESTATION_LIFETIME;
use crate::mutation::attestation::{Purpose, Scope};
use crate::tests::call::TestCall;
use crate::tests::fake_upstreams::Command;
use crate::tests::fixture::{BASE, Fixture, fresh_key};
use crate::tests::test_gateway::fresh;

const USED: &str = "MELMASTOON.BFF.MFA_INVALID_OR_USED";

fn amount(micro: &str) -> Value {
    json!({"amount": {"amountMicro": micro, "currency": "AFN"}, "reason": "minibar"})
}

/// A refund that a test can repeat.
#[derive(Debug, Clone)]
struct Refund {
    folio: FolioId,
    key: String,
    body: Value,
    attestation: Option<AttestationId>,
}

impl Refund {
    fn with(attestation: Option<AttestationId>) -> Self {
        Self { folio: fresh(), key: fresh_key(), body: amount("1000000"), attestation }
    }

    fn send<'a>(&self, fixture: &'a Fixture) -> TestCall<'a> {
        let call = fixture.gateway.post(format!("{BASE}/folios/{}/refunds", self.folio));
        let call = call.key(&self.key).attestation(self.attestation).json(&self.body);
        call.role("front_desk.manager")
    }
}

/// An attestation for refunds, or for one of them.
async fn attested(
    fixture: &Fixture,
    resource: Option<FolioId>,
    body: Option<&Value>,
) -> AttestationId {
    let purpose = Purpose {
        scope: Scope::FolioRefund,
        resource: resource.map(|folio| folio.to_string()),
        body_digest: body.map(|body| Sha256::digest(body.to_string()).into()),
    };
    fixture.gateway.attested(&purpose).await
}

async fn uses(fixture: &Fixture) -> usize {
    fixture.gateway.database.rows("SELECT used_by FROM bff.mfa_attestation_uses").await.len()
}

#[tokio::test]
async fn a_refund_with_a_fresh_factor_is_paid_once_and_its_repeat_replays() {
    let fixture = Fixture::open().await;
    let refund = Refund::with(Some(attested(&fixture, None, None).await));
    let first = refund.send(&fixture).await;
    assert_eq!((first.status.as_u16(), &first.body["refundId"]), (201, &json!("refund-1")));
    let repeat = refund.send(&fixture).await;
    assert_eq!((repeat.status, &repeat.body), (first.status, &first.body));
    assert!(repeat.is_replay());
    assert_eq!((fixture.fake.effects(), uses(&fixture).await), (1, 1));
    let activity =
        fixture.activity("concat_ws(' ', action, outcome, detail->>'attestation')").await;
    let id = refund.attestation.unwrap();
    assert_eq!(
        activity,
        [format!("folio.refund requested {id}"), format!("folio.refund success {id}")]
    );
}

#[tokio::test]
async fn a_repeat_replays_even_when_its_factor_has_expired_meanwhile() {
    let fixture = Fixture::open().await;
    let refund = Refund::with(Some(attested(&fixture, None, None).await));
    refund.send(&fixture).await.status(201);
    fixture.pass(ATTESTATION_LIFETIME.as_secs() + 60);
    assert!(refund.send(&fixture).await.status(201).is_replay());
}

#[tokio::test]
async fn without_a_factor_the_challenge_says_what_is_missing_and_nothing_is_claimed() {
    let fixture = Fixture::open().await;
    let response =
        Refund::with(None).send(&fixture).await.problem(401, "MELMASTOON.BFF.MFA_REQUIRED");
    let challenge = response.header("www-authenticate");
    assert!(challenge.contains(r#"error="insufficient_user_authentication""#), "{challenge}");
    assert!(fixture.gateway.database.rows("SELECT state FROM bff.idempotency").await.is_empty());
    assert!(fixture.fake.seen().is_empty());
}

#[tokio::test]
async fn a_factor_that_is_unknown_expired_or_for_something_else_pays_nothing() {
    let fixture = Fixture::open().await;
    let unknown = Refund::with(Some(fresh()));
    let elsewhere = Refund::with(Some(attested(&fixture, Some(fresh()), None).await));
    let other = attested(&fixture, None, Some(&amount("2000000"))).await;
    for refund in [unknown, elsewhere, Refund::with(Some(other))] {
        refund.send(&fixture).await.problem(401, USED);
    }
    let expired = Refund::with(Some(attested(&fixture, None, None).await));
    fixture.pass(ATTESTATION_LIFETIME.as_secs() + 1);
    let response = expired.send(&fixture).await.problem(401, USED);
    assert!(response.header("www-authenticate").contains("max_age"));
    assert_eq!((fixture.fake.seen().len(), uses(&fixture).await), (0, 0));
    assert!(fixture.gateway.database.rows("SELECT state FROM bff.idempotency").await.is_empty());
}

#[tokio::test]
async fn a_factor_that_was_used_permits_no_other_refund() {
    let fixture = Fixture::open().await;
    let first = Refund::with(Some(attested(&fixture, None, None).await));
    first.send(&fixture).await.status(201);
    Refund::with(first.attestation).send(&fixture).await.problem(401, USED);
    assert_eq!((fixture.fake.effects(), uses(&fixture).await), (1, 1));
}

/// Longer than a finished key is kept.
const A_DAY_LATER: i64 = 24 * 60 * 60 + 60;

#[tokio::test]
async fn under_an_expired_key_a_factor_stays_used() {
    for is_swept in [false, true] {
        let fixture = Fixture::open().await;
        let first = Refund::with(Some(attested(&fixture, None, None).await));
        first.send(&fixture).await.status(201);
        fixture.pass(A_DAY_LATER);
        if is_swept {
            fixture.gateway.database.run("DELETE FROM bff.idempotency").await;
        }
        let other = Refund { folio: fresh(), body: amount("9000000"), ..first.clone() };
        for refund in [&other, &first] {
            refund.send(&fixture).await.problem(401, USED);
        }
        assert_eq!((fixture.fake.seen().len(), uses(&fixture).await), (1, 1));
        let another = Refund { attestation: Some(attested(&fixture, None, None).await), ..other };
        assert_eq!(another.send(&fixture).await.status, 201, "a fresh factor permits it");
    }
}

#[tokio::test]
async fn a_refund_with_an_unknown_outcome_is_not_sent_again_with_the_same_factor_after_a_day() {
    let fixture = Fixture::open().await;
    fixture.fake.command(Command::Vanish);
    let refund = Refund::with(Some(attested(&fixture, None, None).await));
    refund.send(&fixture).await.problem(504, "MELMASTOON.BFF.UPSTREAM_TIMEOUT");
    fixture.pass(A_DAY_LATER);
    let other = Refund { folio: fresh(), body: amount("9000000"), ..refund.clone() };
    for refund in [&refund, &other] {
        refund.send(&fixture).await.problem(401, USED);
    }
    assert_eq!(fixture.fake.seen().len(), 1);
}

#[tokio::test]
async fn a_repeat_gets_its_answer_with_an_attestation_of_its_own_alone() {
    let fixture = Fixture::open().await;
    let first = Refund::with(Some(attested(&fixture, None, None).await));
    first.send(&fixture).await.status(201);
    let repeat = Refund { attestation: None, ..first.clone() };
    repeat.send(&fixture).await.problem(401, "MELMASTOON.BFF.MFA_REQUIRED");
    let elsewhere = attested(&fixture, Some(fresh()), None).await;
    for wrong in [fresh(), elsewhere] {
        let repeat = Refund { attestation: Some(wrong), ..first.clone() };
        repeat.send(&fixture).await.problem(401, USED);
    }
    let fresh_one = attested(&fixture, None, None).await;
    let repeat = Refund { attestation: Some(fresh_one), ..first.clone() }.send(&fixture).await;
    assert!(repeat.is_replay());
    assert_eq!(
        Refund::with(Some(fresh_one)).send(&fixture).await.status,
        201,
        "it is still unused"
    );
}

#[tokio::test]
async fn of_a_hundred_refunds_at_once_with_one_factor_one_is_paid() {
    let fixture = Fixture::open().await;
    fixture.warm_up().await;
    let id = attested(&fixture, None, None).await;
    let refunds: Vec<_> = std::iter::repeat_with(|| Refund::with(Some(id))).take(100).collect();
    let responses =
        join_all(refunds.iter().map(|refund| refund.send(&fixture).into_future())).await;
    let paid = responses.iter().filter(|response| response.status == 201).count();
    assert_eq!((paid, fixture.fake.effects(), uses(&fixture).await), (1, 1, 1));
    for response in responses.iter().filter(|response| response.status != 201) {
        // Some timed out waiting for a connection; no other refund was paid.
        let code = response.body["code"].as_str().unwrap();
        assert!([USED, "MELMASTOON.BFF.STORE_UNAVAILABLE"].contains(&code), "{}", response.body);
    }
}

#[tokio::test]
async fn a_refused_claim_leaves_the_factor_unused() {
    let fixture = Fixture::open().await;
    let first = Refund::with(Some(attested(&fixture, None, None).await));
    first.send(&fixture).await.status(201);
    let second = attested(&fixture, None, None).await;
    let reused = Refund { body: amount("2"), attestation: Some(second), ..first.clone() };
    reused.send(&fixture).await.problem(422, "MELMASTOON.BFF.IDEMPOTENCY_KEY_REUSED");
    Refund::with(Some(second)).send(&fixture).await.status(201);
}

#[tokio::test]
async fn after_a_timeout_the_same_key_and_factor_learn_the_outcome() {
    let fixture = Fixture::open().await;
    fixture.fake.command(Command::Vanish);
    let refund = Refund::with(Some(attested(&fixture, None, None).await));
    refund.send(&fixture).await.problem(504, "MELMASTOON.BFF.UPSTREAM_TIMEOUT");
    let response = refund.send(&fixture).await;
    assert_eq!(response.status(201).body["refundId"], "refund-1");
    assert_eq!((fixture.fake.seen().len(), fixture.fake.effects()), (2, 1));
}

#[tokio::test]
async fn the_role_is_checked_before_the_factor_the_factor_before_the_store_and_the_store_before_billing()
 {
    let fixture = Fixture::open().await;
    let without = Refund::with(None);
    without.send(&fixture).role("front_desk").await.problem(403, "MELMASTOON.BFF.ROLE_FORBIDDEN");
    let with = Refund::with(Some(attested(&fixture, None, None).await));
    fixture.gateway.database.go_away().await;
    without.send(&fixture).await.problem(401, "MELMASTOON.BFF.MFA_REQUIRED");
    fixture.fake.command(Command::Fail(500));
    with.send(&fixture).await.problem(503, "MELMASTOON.BFF.STORE_UNAVAILABLE");
    assert!(fixture.fake.seen().is_empty());
    fixture.gateway.database.come_back().await;
    with.send(&fixture).await.problem(502, "MELMASTOON.BFF.UPSTREAM_UNAVAILABLE");
    with.send(&fixture).await.status(201);
}

#[tokio::test]
async fn the_role_is_checked_before_the_session_store_and_that_before_the_factor() {
    let fixture = Fixture::without_session_store().await;
    let without = Refund::with(None);
    without.send(&fixture).role("front_desk").await.problem(403, "MELMASTOON.BFF.ROLE_FORBIDDEN");
    let response = without.send(&fixture).await.problem(503, "MELMASTOON.BFF.CACHE_UNAVAILABLE");
    assert!(response.headers.contains_key("retry-after"));
    let with = Refund::with(Some(attested(&fixture, None, None).await));
    with.send(&fixture).await.problem(503, "MELMASTOON.BFF.CACHE_UNAVAILABLE");
    assert_eq!((fixture.fake.seen().len(), uses(&fixture).await), (0, 0));
}
