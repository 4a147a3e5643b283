//! Each mutation happens exactly once, whatever fails and however often it is sent.

use std::time::Duration;

use bff::mutation::idempotency::fingerprint::RequestLine;
use bff::mutation::idempotency::store::{self, Claim, ClaimRequest};
use bff::mutation::idempotency::{Fingerprint, IdempotencyScope, Key, Reach};
use contracts::clock::{Clock, Entropy};
use contracts::id::{Id, OperatorId, ReservationId};
use contracts::upstream::iam::AccessTokenClaims;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::HeaderMap;
use serde_json::{Value, json};

use crate::attestations::principal;
use crate::desk::{BASE, Desk, fresh_key};
use crate::house::{Answer, House};
use crate::platform::{Command, refusal};

const ROUTE: &str = "/api/bff/backoffice/v1/reservations/{id}/check-in";
/// Longer than any claim is its worker's.
const PAST_THE_LEASE: i64 = 6;

/// One check-in, sent as often as a test likes.
#[derive(Debug, Clone)]
struct CheckIn {
    path: String,
    key: String,
    body: Value,
}

impl CheckIn {
    fn new() -> Self {
        let id = ReservationId::generate(&Clock::system(), &Entropy::system());
        let (path, key) = (format!("{BASE}/reservations/{id}/check-in"), fresh_key());
        Self { path, key, body: json!({}) }
    }

    fn request(&self, house: &House) -> http::request::Builder {
        house.change(&self.path, |_| {}).header("idempotency-key", &self.key)
    }

    async fn send(&self, desk: &Desk) -> Answer {
        desk.house.send_json(self.request(&desk.house), &self.body).await
    }

    /// With another token.
    async fn send_as(&self, desk: &Desk, change: impl FnOnce(&mut AccessTokenClaims)) -> Answer {
        let request = desk.house.change(&self.path, change).header("idempotency-key", &self.key);
        desk.house.send_json(request, &self.body).await
    }
}

/// State, fence and status of a key's row.
async fn row(desk: &Desk, key: &str) -> Vec<String> {
    let sql = format!(
        "SELECT concat_ws(' ', state, fence, response_status) FROM bff.idempotency
         WHERE idempotency_key = '{key}'"
    );
    desk.house.rows(&sql).await
}

fn is_replay(answer: &Answer) -> bool {
    answer.headers.get("idempotency-replayed").is_some_and(|value| value == "true")
}

#[tokio::test]
async fn a_first_use_is_forwarded_with_its_key_and_body_and_its_answer_is_kept() {
    let desk = Desk::open().await;
    let check_in =
        CheckIn { body: json!({"roomId": "rom_01K0000000000000000000000A"}), ..CheckIn::new() };
    let answer = check_in.send(&desk).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.body["state"], "in_house");
    assert!(!is_replay(&answer));
    let seen = desk.platform.seen();
    assert_eq!(seen.len(), 1);
    assert!(check_in.path.ends_with(seen[0].target.trim_start_matches("/api/v1")));
    assert_eq!(
        (seen[0].key.as_deref(), &seen[0].body),
        (Some(check_in.key.as_str()), &check_in.body)
    );
    assert_eq!(row(&desk, &check_in.key).await, ["completed 1 200"]);
    let ledger = desk.ledger("concat_ws(' ', action, outcome, detail->>'attempt')").await;
    assert_eq!(ledger, ["reservation.check_in requested 1", "reservation.check_in success 1"]);
}

#[tokio::test]
async fn a_repeat_gets_the_same_answer_with_a_new_token_and_a_new_proof_and_nothing_is_forwarded() {
    let desk = Desk::open().await;
    let check_in = CheckIn::new();
    let first = check_in.send(&desk).await;
    let quoted = format!("\"{}\"", check_in.key);
    for header in ["idempotency-key", "x-idempotency-key"] {
        let request = desk.house.change(&check_in.path, |claims| claims.jti = "another".into());
        let repeat = desk.house.send_json(request.header(header, &quoted), &check_in.body).await;
        assert!(is_replay(&repeat), "{}", repeat.body);
        assert_eq!((repeat.status, &repeat.body), (first.status, &first.body));
        assert_ne!(repeat.headers["x-request-id"], first.headers["x-request-id"]);
    }
    assert_eq!((desk.platform.seen().len(), desk.platform.effects()), (1, 1));
}

#[tokio::test]
async fn another_request_under_the_same_key_is_refused() {
    let desk = Desk::open().await;
    let check_in = CheckIn::new();
    assert_eq!(check_in.send(&desk).await.status, 200);
    let other_body = CheckIn { body: json!({"roomId": null}), ..check_in.clone() };
    let other_path = CheckIn { path: CheckIn::new().path, ..check_in.clone() };
    let other_query = CheckIn { path: format!("{}?a=1", check_in.path), ..check_in.clone() };
    for other in [other_body, other_path, other_query] {
        let answer = other.send(&desk).await;
        answer.is_problem(422, "MELMASTOON.BFF.IDEMPOTENCY_KEY_REUSED");
    }
    assert_eq!(desk.platform.seen().len(), 1);
}

#[tokio::test]
async fn the_key_of_another_operator_is_another_key() {
    let desk = Desk::open().await;
    let check_in = CheckIn::new();
    assert_eq!(check_in.send(&desk).await.status, 200);
    let other = OperatorId::generate(&Clock::system(), &Entropy::system());
    let signed_in = |claims: &mut AccessTokenClaims| {
        claims.sub = other.to_string();
        claims.sid = None;
    };
    let answer = check_in.send_as(&desk, signed_in).await;
    assert_eq!((answer.status.as_u16(), is_replay(&answer)), (200, false));
    assert_eq!(desk.platform.seen().len(), 2);
}

#[tokio::test]
async fn twenty_at_once_are_one_effect_and_the_others_are_told_to_wait() {
    let desk = Desk::open().await;
    desk.warm_up().await;
    desk.platform.command(Command::Hold);
    let check_in = CheckIn::new();
    let requests = std::iter::repeat_with(|| check_in.request(&desk.house)).take(20);
    let mut answers: FuturesUnordered<_> =
        requests.map(|request| desk.house.send_json(request, &check_in.body)).collect();
    for _ in 0..19 {
        let answer = answers.next().await.unwrap();
        answer.is_problem(409, "MELMASTOON.BFF.IDEMPOTENCY_IN_FLIGHT");
        assert_eq!(answer.headers["retry-after"], "1");
    }
    desk.platform.release();
    assert_eq!(answers.next().await.unwrap().status, 200);
    assert!(is_replay(&check_in.send(&desk).await));
    assert_eq!((desk.platform.seen().len(), desk.platform.effects()), (1, 1));
}

#[tokio::test]
async fn after_an_upstream_s_error_the_next_repeat_tries_again_at_once() {
    let desk = Desk::open().await;
    desk.platform.command(Command::Fail(500));
    let check_in = CheckIn::new();
    check_in.send(&desk).await.is_problem(502, "MELMASTOON.BFF.UPSTREAM_UNAVAILABLE");
    assert_eq!(row(&desk, &check_in.key).await, ["claimed 1"]);
    let answer = check_in.send(&desk).await;
    assert_eq!((answer.status.as_u16(), is_replay(&answer)), (200, false), "{}", answer.body);
    assert_eq!(row(&desk, &check_in.key).await, ["completed 2 200"]);
    let keys: Vec<_> = desk.platform.seen().into_iter().filter_map(|seen| seen.key).collect();
    assert_eq!(keys, [check_in.key.clone(), check_in.key]);
}

#[tokio::test]
async fn after_a_timeout_the_effect_is_unknown_and_a_repeat_finds_it_out_without_a_second_one() {
    let desk = Desk::open().await;
    desk.platform.command(Command::Vanish);
    let check_in = CheckIn::new();
    check_in.send(&desk).await.is_problem(504, "MELMASTOON.BFF.UPSTREAM_TIMEOUT");
    let other = CheckIn { body: json!({"roomId": null}), ..check_in.clone() };
    other.send(&desk).await.is_problem(422, "MELMASTOON.BFF.IDEMPOTENCY_KEY_REUSED");
    let answer = check_in.send(&desk).await;
    assert_eq!((answer.status.as_u16(), is_replay(&answer)), (200, false), "{}", answer.body);
    assert_eq!((desk.platform.seen().len(), desk.platform.effects()), (2, 1));
    let ledger = desk.ledger("outcome").await;
    assert_eq!(ledger, ["requested", "unknown", "requested", "success"]);
}

#[tokio::test]
async fn an_answer_that_breaks_its_contract_is_said_and_not_kept() {
    let desk = Desk::open().await;
    desk.platform.command(Command::Drift);
    let check_in = CheckIn::new();
    check_in.send(&desk).await.is_problem(502, "MELMASTOON.BFF.SCHEMA_DRIFT");
    assert_eq!(check_in.send(&desk).await.status, 200);
    assert_eq!(desk.platform.effects(), 1);
}

#[tokio::test]
async fn a_refusal_of_the_upstream_passes_through_is_kept_and_carries_the_ids_of_each_request() {
    let desk = Desk::open().await;
    let code = "MELMASTOON.RESERVATION.NOT_ARRIVING";
    desk.platform.command(Command::Refuse(refusal(409, code)));
    let check_in = CheckIn::new();
    let first = check_in.send(&desk).await;
    let repeat = check_in.send(&desk).await;
    for answer in [&first, &repeat] {
        answer.is_problem(409, code);
        assert_eq!(answer.body["instance"], check_in.path);
        assert_eq!(answer.body["tenantId"], desk.house.tenant.as_str());
    }
    assert!(is_replay(&repeat) && !is_replay(&first));
    assert_ne!(first.body["requestId"], repeat.body["requestId"]);
    assert_eq!(desk.platform.seen().len(), 1);
    let ledger = desk.ledger("concat_ws(' ', outcome, detail->>'code')").await;
    assert_eq!(ledger, ["requested", &format!("refused {code}")]);
}

#[tokio::test]
async fn a_refusal_that_is_not_the_last_word_is_not_kept() {
    let desk = Desk::open().await;
    let own = "MELMASTOON.RESERVATION.NOT_NOW";
    for (status, seen, code) in [(408, 504, "MELMASTOON.BFF.UPSTREAM_TIMEOUT"), (429, 429, own)] {
        desk.platform.command(Command::Refuse(refusal(status, own)));
        let check_in = CheckIn::new();
        check_in.send(&desk).await.is_problem(seen, code);
        assert_eq!(check_in.send(&desk).await.status, 200, "{status}");
    }
}

#[tokio::test]
async fn without_the_store_nothing_is_forwarded_and_afterwards_the_same_key_works() {
    let desk = Desk::open().await;
    let check_in = CheckIn::new();
    desk.house.database.go_away().await;
    let answer = check_in.send(&desk).await;
    answer.is_problem(503, "MELMASTOON.BFF.STORE_UNAVAILABLE");
    assert!(answer.headers.contains_key("retry-after"));
    assert!(desk.platform.seen().is_empty());
    desk.house.database.come_back().await;
    assert_eq!(check_in.send(&desk).await.status, 200);
}

#[tokio::test]
async fn an_answer_that_cannot_be_kept_is_still_given_and_a_repeat_makes_no_second_effect() {
    let desk = Desk::open().await;
    desk.platform.command(Command::Hold);
    let check_in = CheckIn::new();
    let (answer, ()) = tokio::join!(check_in.send(&desk), async {
        desk.platform.called().await;
        desk.house.database.go_away().await;
        desk.platform.release();
    });
    assert_eq!(answer.status, 200, "{}", answer.body);
    desk.house.database.come_back().await;
    check_in.send(&desk).await.is_problem(409, "MELMASTOON.BFF.IDEMPOTENCY_IN_FLIGHT");
    desk.pass(PAST_THE_LEASE);
    let repeat = check_in.send(&desk).await;
    assert_eq!((repeat.status.as_u16(), &repeat.body), (200, &answer.body));
    assert_eq!((desk.platform.seen().len(), desk.platform.effects()), (2, 1));
}

#[tokio::test]
async fn a_client_that_goes_away_stops_nothing_and_finds_the_answer_later() {
    let desk = Desk::open().await;
    desk.platform.command(Command::Hold);
    let check_in = CheckIn::new();
    tokio::select! {
        answer = check_in.send(&desk) => panic!("nothing is answered yet: {}", answer.body),
        () = desk.platform.called() => {}
    }
    desk.platform.release();
    desk.house.gateway.lifecycle.drain().await;
    assert_eq!(row(&desk, &check_in.key).await, ["completed 1 200"]);
    assert!(is_replay(&check_in.send(&desk).await));
    assert_eq!(desk.platform.seen().len(), 1);
}

#[tokio::test]
async fn a_claim_whose_worker_died_is_taken_over_when_its_lease_has_run_out() {
    let desk = Desk::open().await;
    let check_in = CheckIn::new();
    claim_and_die(&desk, &check_in).await;
    check_in.send(&desk).await.is_problem(409, "MELMASTOON.BFF.IDEMPOTENCY_IN_FLIGHT");
    assert!(desk.platform.seen().is_empty());
    desk.pass(PAST_THE_LEASE);
    assert_eq!(check_in.send(&desk).await.status, 200);
    assert_eq!(row(&desk, &check_in.key).await, ["completed 2 200"]);
}

/// As a process does that is killed between the claim and the call.
async fn claim_and_die(desk: &Desk, check_in: &CheckIn) {
    let house = &desk.house;
    let headers = HeaderMap::from_iter([(
        http::HeaderName::from_static("idempotency-key"),
        check_in.key.parse().unwrap(),
    )]);
    let scope = IdempotencyScope {
        tenant: house.tenant,
        operator: house.operator,
        device: house.device,
        method: "POST".into(),
        route: ROUTE.into(),
        key: Key::of(&headers).unwrap(),
    };
    let content_type = "application/json";
    let line = RequestLine { method: "POST", path: &check_in.path, query: None, content_type };
    let fingerprint = Fingerprint::new(line, check_in.body.to_string().as_bytes());
    let mut connection = house.gateway.database.connection().await.unwrap();
    let transaction = service_kit::postgres::write(&mut connection, house.tenant).await.unwrap();
    let wanted = ClaimRequest {
        scope: &scope,
        fingerprint: &fingerprint,
        reach: &Reach::new(&principal(house), None),
        now: house.gateway.env.now(),
        lease: Duration::from_secs(5),
    };
    let claim = store::claim(&transaction, &wanted).await.unwrap();
    assert_eq!(claim, Claim::Acquired { fence: 1 });
    transaction.commit().await.unwrap();
}

#[tokio::test]
async fn a_late_worker_completes_nothing() {
    let desk = Desk::open().await;
    desk.platform.command(Command::Hold);
    let check_in = CheckIn::new();
    let (late, ()) = tokio::join!(check_in.send(&desk), async {
        desk.platform.called().await;
        desk.pass(PAST_THE_LEASE);
        desk.platform.command(Command::Refuse(refusal(422, "MELMASTOON.RESERVATION.NO_ROOM")));
        check_in.send(&desk).await.is_problem(422, "MELMASTOON.RESERVATION.NO_ROOM");
        desk.platform.release();
    });
    assert_eq!(late.status, 200, "{}", late.body);
    assert_eq!(row(&desk, &check_in.key).await, ["completed 2 422"]);
    check_in.send(&desk).await.is_problem(422, "MELMASTOON.RESERVATION.NO_ROOM");
}

#[tokio::test]
async fn a_key_is_forgotten_a_day_after_its_answer() {
    let desk = Desk::open().await;
    let check_in = CheckIn::new();
    assert_eq!(check_in.send(&desk).await.status, 200);
    desk.pass(24 * 60 * 60 - 10);
    assert!(is_replay(&check_in.send(&desk).await));
    desk.pass(20);
    let answer = check_in.send(&desk).await;
    assert_eq!((answer.status.as_u16(), is_replay(&answer)), (200, false));
}

#[tokio::test]
async fn a_demoted_operator_gets_no_replay() {
    let desk = Desk::open().await;
    let check_in = CheckIn::new();
    assert_eq!(check_in.send(&desk).await.status, 200);
    let demoted =
        check_in.send_as(&desk, |claims| claims.roles = vec!["housekeeping".into()]).await;
    demoted.is_problem(403, "MELMASTOON.BFF.ROLE_FORBIDDEN");
}

#[tokio::test]
async fn a_request_that_cannot_be_told_apart_or_read_claims_nothing() {
    let desk = Desk::open().await;
    let check_in = CheckIn::new();
    let house = &desk.house;
    let bare = || house.change(&check_in.path, |_| {});
    let body = json!({});
    let answer = house.send_json(bare(), &body).await;
    answer.is_problem(400, "MELMASTOON.BFF.IDEMPOTENCY_KEY_REQUIRED");
    let answer = house.send_json(bare().header("idempotency-key", "short"), &body).await;
    answer.is_problem(400, "MELMASTOON.BFF.IDEMPOTENCY_KEY_INVALID");
    let two = check_in.request(house).header("x-idempotency-key", fresh_key());
    let answer = house.send_json(two, &body).await;
    answer.is_problem(400, "MELMASTOON.BFF.IDEMPOTENCY_KEY_INVALID");
    let text = check_in.request(house).header("content-type", "text/plain");
    house.send_text(text, "{}").await.is_problem(415, "MELMASTOON.GENERAL.UNSUPPORTED_MEDIA_TYPE");
    let odd = CheckIn { body: json!({"room": 7}), ..check_in.clone() };
    let answer = odd.send(&desk).await;
    answer.is_problem(400, "MELMASTOON.GENERAL.VALIDATION_FAILED");
    assert_eq!(answer.body["errors"][0]["field"], "body.room");
    let large = CheckIn { body: json!({"roomId": "x".repeat(64 * 1024)}), ..check_in.clone() };
    large.send(&desk).await.is_problem(413, "MELMASTOON.BFF.PAYLOAD_TOO_LARGE");
    let unknown =
        CheckIn { path: format!("{BASE}/reservations/rsv_1/check-in"), ..check_in.clone() };
    unknown.send(&desk).await.is_problem(404, "MELMASTOON.GENERAL.RESOURCE_NOT_FOUND");
    assert!(desk.house.rows("SELECT 'row' FROM bff.idempotency").await.is_empty());
    assert!(desk.platform.seen().is_empty());
}
