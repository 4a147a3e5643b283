//! Each mutation takes effect exactly once, despite failures and repeats.

use std::time::Duration;

use contracts::id::{OperatorId, ReservationId};
use contracts::upstream::iam::AccessTokenClaims;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::HeaderMap;
use serde_json::{Value, json};
use service_kit::idempotency_key::IdempotencyKey;

use crate::mutation::idempotency::fingerprint::RequestLine;
use crate::mutation::idempotency::store::{self, Claim, ClaimRequest};
use crate::mutation::idempotency::{Fingerprint, IdempotencyScope, Reach};
use crate::tests::attestations::principal;
use crate::tests::call::TestCall;
use crate::tests::fake_upstreams::{Command, refusal};
use crate::tests::fixture::{BASE, Fixture, fresh_key};
use crate::tests::test_gateway::fresh;

const ROUTE: &str = "/api/bff/backoffice/v1/reservations/{id}/check-in";
/// Longer than the lease of a claim.
const PAST_THE_LEASE: i64 = 6;

/// A check-in that a test can repeat.
#[derive(Debug, Clone)]
struct CheckIn {
    path: String,
    key: String,
    body: Value,
}

impl CheckIn {
    fn new() -> Self {
        let path = format!("{BASE}/reservations/{}/check-in", fresh::<ReservationId>());
        let key = fresh_key();
        Self { path, key, body: json!({}) }
    }

    fn send<'a>(&self, fixture: &'a Fixture) -> TestCall<'a> {
        fixture.gateway.post(&self.path).key(&self.key).json(&self.body)
    }
}

/// State, fence and status of a key's row.
async fn row(fixture: &Fixture, key: &str) -> Vec<String> {
    let sql = format!(
        "SELECT concat_ws(' ', state, fence, response_status) FROM bff.idempotency
         WHERE idempotency_key = '{key}'"
    );
    fixture.gateway.database.rows(&sql).await
}

#[tokio::test]
async fn a_first_use_is_forwarded_with_its_key_and_body_and_its_response_is_stored() {
    let fixture = Fixture::open().await;
    let check_in =
        CheckIn { body: json!({"roomId": "rom_01K0000000000000000000000A"}), ..CheckIn::new() };
    let response = check_in.send(&fixture).await.status(200);
    assert_eq!(response.body["state"], "in_house");
    assert!(!response.is_replay());
    let seen = fixture.fake.seen();
    assert_eq!(seen.len(), 1);
    assert!(check_in.path.ends_with(seen[0].target.trim_start_matches("/api/v1")));
    assert_eq!(
        (seen[0].key.as_deref(), &seen[0].body),
        (Some(check_in.key.as_str()), &check_in.body)
    );
    assert_eq!(row(&fixture, &check_in.key).await, ["completed 1 200"]);
    let activity = fixture.activity("concat_ws(' ', action, outcome, detail->>'attempt')").await;
    assert_eq!(activity, ["reservation.check_in requested 1", "reservation.check_in success 1"]);
}

#[tokio::test]
async fn a_repeat_gets_the_same_answer_with_a_new_token_and_a_new_proof_and_nothing_is_forwarded() {
    let fixture = Fixture::open().await;
    let check_in = CheckIn::new();
    let first = check_in.send(&fixture).await;
    let quoted = format!("\"{}\"", check_in.key);
    for header in ["idempotency-key", "x-idempotency-key"] {
        let repeat = check_in.send(&fixture).without("idempotency-key").header(header, &quoted);
        let repeat = repeat.claims(|claims| claims.jti = "another".into()).await;
        assert!(repeat.is_replay(), "{}", repeat.body);
        assert_eq!((repeat.status, &repeat.body), (first.status, &first.body));
        assert_ne!(repeat.headers["x-request-id"], first.headers["x-request-id"]);
    }
    assert_eq!((fixture.fake.seen().len(), fixture.fake.effects()), (1, 1));
}

#[tokio::test]
async fn another_request_under_the_same_key_is_refused() {
    let fixture = Fixture::open().await;
    let check_in = CheckIn::new();
    check_in.send(&fixture).await.status(200);
    let other_body = CheckIn { body: json!({"roomId": null}), ..check_in.clone() };
    let other_path = CheckIn { path: CheckIn::new().path, ..check_in.clone() };
    let other_query = CheckIn { path: format!("{}?a=1", check_in.path), ..check_in.clone() };
    for other in [other_body, other_path, other_query] {
        other.send(&fixture).await.problem(422, "MELMASTOON.BFF.IDEMPOTENCY_KEY_REUSED");
    }
    assert_eq!(fixture.fake.seen().len(), 1);
}

#[tokio::test]
async fn the_key_of_another_operator_is_another_key() {
    let fixture = Fixture::open().await;
    let check_in = CheckIn::new();
    check_in.send(&fixture).await.status(200);
    let other: OperatorId = fresh();
    let signed_in = |claims: &mut AccessTokenClaims| {
        claims.sub = other.to_string();
        claims.sid = None;
    };
    assert!(!check_in.send(&fixture).claims(signed_in).await.status(200).is_replay());
    assert_eq!(fixture.fake.seen().len(), 2);
}

#[tokio::test]
async fn twenty_concurrent_repeats_have_one_effect_and_the_others_are_in_progress() {
    let fixture = Fixture::open().await;
    fixture.warm_up().await;
    fixture.fake.command(Command::Hold);
    let check_in = CheckIn::new();
    let mut responses: FuturesUnordered<_> =
        (0..20).map(|_| check_in.send(&fixture).into_future()).collect();
    for _ in 0..19 {
        let response = responses.next().await.unwrap();
        let response = response.problem(409, "MELMASTOON.BFF.IDEMPOTENCY_IN_FLIGHT");
        assert_eq!(response.headers["retry-after"], "1");
    }
    fixture.fake.release();
    responses.next().await.unwrap().status(200);
    assert!(check_in.send(&fixture).await.is_replay());
    assert_eq!((fixture.fake.seen().len(), fixture.fake.effects()), (1, 1));
}

#[tokio::test]
async fn after_an_upstream_s_error_the_next_repeat_tries_again_at_once() {
    let fixture = Fixture::open().await;
    fixture.fake.command(Command::Fail(500));
    let check_in = CheckIn::new();
    check_in.send(&fixture).await.problem(502, "MELMASTOON.BFF.UPSTREAM_UNAVAILABLE");
    assert_eq!(row(&fixture, &check_in.key).await, ["claimed 1"]);
    assert!(!check_in.send(&fixture).await.status(200).is_replay());
    assert_eq!(row(&fixture, &check_in.key).await, ["completed 2 200"]);
    let keys: Vec<_> = fixture.fake.seen().into_iter().filter_map(|seen| seen.key).collect();
    assert_eq!(keys, [check_in.key.clone(), check_in.key]);
}

#[tokio::test]
async fn after_a_timeout_the_effect_is_unknown_and_a_repeat_learns_it_without_a_second_one() {
    let fixture = Fixture::open().await;
    fixture.fake.command(Command::Vanish);
    let check_in = CheckIn::new();
    check_in.send(&fixture).await.problem(504, "MELMASTOON.BFF.UPSTREAM_TIMEOUT");
    let other = CheckIn { body: json!({"roomId": null}), ..check_in.clone() };
    other.send(&fixture).await.problem(422, "MELMASTOON.BFF.IDEMPOTENCY_KEY_REUSED");
    assert!(!check_in.send(&fixture).await.status(200).is_replay());
    assert_eq!((fixture.fake.seen().len(), fixture.fake.effects()), (2, 1));
    let activity = fixture.activity("outcome").await;
    assert_eq!(activity, ["requested", "unknown", "requested", "success"]);
}

#[tokio::test]
async fn a_response_that_breaks_its_contract_is_reported_and_not_cached() {
    let fixture = Fixture::open().await;
    fixture.fake.command(Command::Drift);
    let check_in = CheckIn::new();
    check_in.send(&fixture).await.problem(502, "MELMASTOON.BFF.SCHEMA_DRIFT");
    check_in.send(&fixture).await.status(200);
    assert_eq!(fixture.fake.effects(), 1);
}

#[tokio::test]
async fn a_refusal_of_the_upstream_passes_through_is_kept_and_carries_the_ids_of_each_request() {
    let fixture = Fixture::open().await;
    let code = "MELMASTOON.RESERVATION.NOT_ARRIVING";
    fixture.fake.command(Command::Refuse(refusal(409, code)));
    let check_in = CheckIn::new();
    let first = check_in.send(&fixture).await.problem(409, code);
    let repeat = check_in.send(&fixture).await.problem(409, code);
    for response in [&first, &repeat] {
        assert_eq!(response.body["instance"], check_in.path);
        assert_eq!(response.body["tenantId"], fixture.gateway.tenant.as_str());
    }
    assert!(repeat.is_replay() && !first.is_replay());
    assert_ne!(first.body["requestId"], repeat.body["requestId"]);
    assert_eq!(fixture.fake.seen().len(), 1);
    let activity = fixture.activity("concat_ws(' ', outcome, detail->>'code')").await;
    assert_eq!(activity, ["requested", &format!("refused {code}")]);
}

#[tokio::test]
async fn a_refusal_that_is_not_final_is_not_stored() {
    let fixture = Fixture::open().await;
    let own = "MELMASTOON.RESERVATION.NOT_NOW";
    for (status, seen, code) in [(408, 504, "MELMASTOON.BFF.UPSTREAM_TIMEOUT"), (429, 429, own)] {
        fixture.fake.command(Command::Refuse(refusal(status, own)));
        let check_in = CheckIn::new();
        check_in.send(&fixture).await.problem(seen, code);
        assert_eq!(check_in.send(&fixture).await.status, 200, "{status}");
    }
}

#[tokio::test]
async fn without_the_store_nothing_is_forwarded_and_afterwards_the_same_key_works() {
    let fixture = Fixture::open().await;
    let check_in = CheckIn::new();
    fixture.gateway.database.go_away().await;
    let response = check_in.send(&fixture).await.problem(503, "MELMASTOON.BFF.STORE_UNAVAILABLE");
    assert!(response.headers.contains_key("retry-after"));
    assert!(fixture.fake.seen().is_empty());
    fixture.gateway.database.come_back().await;
    check_in.send(&fixture).await.status(200);
}

#[tokio::test]
async fn a_response_that_cannot_be_stored_is_still_sent_and_a_repeat_has_no_second_effect() {
    let fixture = Fixture::open().await;
    fixture.fake.command(Command::Hold);
    let check_in = CheckIn::new();
    let (response, ()) = tokio::join!(check_in.send(&fixture).into_future(), async {
        fixture.fake.called().await;
        fixture.gateway.database.go_away().await;
        fixture.fake.release();
    });
    assert_eq!(response.status, 200, "{}", response.body);
    fixture.gateway.database.come_back().await;
    check_in.send(&fixture).await.problem(409, "MELMASTOON.BFF.IDEMPOTENCY_IN_FLIGHT");
    fixture.pass(PAST_THE_LEASE);
    assert_eq!(check_in.send(&fixture).await.ok::<Value>(), response.body);
    assert_eq!((fixture.fake.seen().len(), fixture.fake.effects()), (2, 1));
}

#[tokio::test]
async fn a_disconnect_does_not_stop_a_mutation_and_a_repeat_gets_its_response() {
    let fixture = Fixture::open().await;
    fixture.fake.command(Command::Hold);
    let check_in = CheckIn::new();
    tokio::select! {
        response = check_in.send(&fixture).into_future() => panic!("nothing is answered yet: {}", response.body),
        () = fixture.fake.called() => {}
    }
    fixture.fake.release();
    fixture.gateway.state.lifecycle.drain().await;
    assert_eq!(row(&fixture, &check_in.key).await, ["completed 1 200"]);
    assert!(check_in.send(&fixture).await.is_replay());
    assert_eq!(fixture.fake.seen().len(), 1);
}

#[tokio::test]
async fn a_claim_of_a_crashed_worker_is_taken_over_after_its_lease() {
    let fixture = Fixture::open().await;
    let check_in = CheckIn::new();
    claim_and_die(&fixture, &check_in).await;
    check_in.send(&fixture).await.problem(409, "MELMASTOON.BFF.IDEMPOTENCY_IN_FLIGHT");
    assert!(fixture.fake.seen().is_empty());
    fixture.pass(PAST_THE_LEASE);
    check_in.send(&fixture).await.status(200);
    assert_eq!(row(&fixture, &check_in.key).await, ["completed 2 200"]);
}

/// Claims the key like a process that crashes before the call.
async fn claim_and_die(fixture: &Fixture, check_in: &CheckIn) {
    let gateway = &fixture.gateway;
    let headers = HeaderMap::from_iter([(
        http::HeaderName::from_static("idempotency-key"),
        check_in.key.parse().unwrap(),
    )]);
    let scope = IdempotencyScope {
        tenant: gateway.tenant,
        operator: gateway.operator,
        device: gateway.device,
        method: "POST".into(),
        route: ROUTE.into(),
        key: IdempotencyKey::of(&headers).unwrap(),
    };
    let content_type = "application/json";
    let line = RequestLine { method: "POST", path: &check_in.path, query: None, content_type };
    let fingerprint = Fingerprint::new(line, check_in.body.to_string().as_bytes());
    let mut connection = gateway.state.database.connection().await.unwrap();
    let transaction = service_kit::postgres::write(&mut connection, gateway.tenant).await.unwrap();
    let wanted = ClaimRequest {
        scope: &scope,
        fingerprint: &fingerprint,
        reach: &Reach::new(&principal(gateway), None),
        now: gateway.state.env.now(),
        lease: Duration::from_secs(5),
    };
    let claim = store::claim(&transaction, &wanted).await.unwrap();
    assert_eq!(claim, Claim::Acquired { fence: 1 });
    transaction.commit().await.unwrap();
}

#[tokio::test]
async fn a_late_worker_completes_nothing() {
    let fixture = Fixture::open().await;
    fixture.fake.command(Command::Hold);
    let check_in = CheckIn::new();
    let (late, ()) = tokio::join!(check_in.send(&fixture).into_future(), async {
        fixture.fake.called().await;
        fixture.pass(PAST_THE_LEASE);
        fixture.fake.command(Command::Refuse(refusal(422, "MELMASTOON.RESERVATION.NO_ROOM")));
        check_in.send(&fixture).await.problem(422, "MELMASTOON.RESERVATION.NO_ROOM");
        fixture.fake.release();
    });
    assert_eq!(late.status, 200, "{}", late.body);
    assert_eq!(row(&fixture, &check_in.key).await, ["completed 2 422"]);
    check_in.send(&fixture).await.problem(422, "MELMASTOON.RESERVATION.NO_ROOM");
}

#[tokio::test]
async fn a_key_expires_a_day_after_its_response() {
    let fixture = Fixture::open().await;
    let check_in = CheckIn::new();
    check_in.send(&fixture).await.status(200);
    fixture.pass(24 * 60 * 60 - 10);
    assert!(check_in.send(&fixture).await.is_replay());
    fixture.pass(20);
    assert!(!check_in.send(&fixture).await.status(200).is_replay());
}

#[tokio::test]
async fn a_demoted_operator_gets_no_replay() {
    let fixture = Fixture::open().await;
    let check_in = CheckIn::new();
    check_in.send(&fixture).await.status(200);
    let demoted = check_in.send(&fixture).role("housekeeping").await;
    demoted.problem(403, "MELMASTOON.BFF.ROLE_FORBIDDEN");
}

#[tokio::test]
async fn a_request_without_a_fingerprint_or_with_a_bad_body_claims_nothing() {
    let fixture = Fixture::open().await;
    let check_in = CheckIn::new();
    let invalid = "MELMASTOON.BFF.IDEMPOTENCY_KEY_INVALID";
    let keyless = check_in.send(&fixture).without("idempotency-key").await;
    keyless.problem(400, "MELMASTOON.BFF.IDEMPOTENCY_KEY_REQUIRED");
    check_in.send(&fixture).key("short").await.problem(400, invalid);
    let two = check_in.send(&fixture).header("x-idempotency-key", fresh_key()).await;
    two.problem(400, invalid);
    let text = check_in.send(&fixture).header("content-type", "text/plain").await;
    text.problem(415, "MELMASTOON.GENERAL.UNSUPPORTED_MEDIA_TYPE");
    let odd = CheckIn { body: json!({"room": 7}), ..check_in.clone() };
    odd.send(&fixture).await.invalid("body.room");
    let large = CheckIn { body: json!({"roomId": "x".repeat(64 * 1024)}), ..check_in.clone() };
    large.send(&fixture).await.problem(413, "MELMASTOON.BFF.PAYLOAD_TOO_LARGE");
    let unknown =
        CheckIn { path: format!("{BASE}/reservations/rsv_1/check-in"), ..check_in.clone() };
    unknown.send(&fixture).await.problem(404, "MELMASTOON.GENERAL.RESOURCE_NOT_FOUND");
    assert!(fixture.gateway.database.rows("SELECT 'row' FROM bff.idempotency").await.is_empty());
    assert!(fixture.fake.seen().is_empty());
}
