//! Emergency override of firewall rules by two operators, on every instance within seconds.

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use contracts::clock::Clock;
use jiff::SignedDuration;
use serde_json::{Value, json};
use tokio::time::{interval, timeout};

use crate::firewall::rule_override::RuleOverrides;
use crate::firewall::{Firewall, Source};
use crate::tests::issuer::{FIRST, SCHEDULER, SECOND};
use crate::tests::test_gateway::{TestGateway, TestResponse, UNREACHABLE_REDIS, session_url};

const PATH: &str = "/internal/admin/edge-rules";
const SESSION: &str = "/api/bff/backoffice/v1/session";
const RULES: &str =
    "[[deny]]\nname = \"botnet\"\nmode = \"enforce\"\naddresses = [\"203.0.113.0/24\"]\n";
const BLOCKED: &str = "203.0.113.9";

fn body(rules: &str) -> Value {
    json!({"rules": rules, "reason": "a botnet asks for everything"})
}

impl TestGateway {
    async fn request_override(&self, rules: &str) -> String {
        let response = self.account(FIRST).post(PATH).json(&body(rules)).await.status(202);
        response.body["id"].as_str().unwrap().to_owned()
    }

    async fn approve(&self, id: &str, account: &str) -> TestResponse {
        self.account(account).post(format!("{PATH}/{id}/approve")).await
    }

    async fn audit(&self) -> Vec<String> {
        let sql = "SELECT step || ' ' || account FROM bff.admin_audit ORDER BY sequence";
        self.database.rows(sql).await
    }
}

async fn is_blocked(gateway: &TestGateway) -> bool {
    gateway.get(SESSION).from(BLOCKED).await.body["code"] == "MELMASTOON.BFF.EDGE_BLOCKED"
}

#[tokio::test]
async fn two_people_put_rules_into_force_and_take_them_back() {
    let gateway = TestGateway::open().await;
    let id = gateway.request_override(RULES).await;
    assert!(!is_blocked(&gateway).await, "nothing holds until it is approved");

    gateway.approve(&id, SECOND).await.status(200);
    assert!(is_blocked(&gateway).await);
    let view = gateway.account(SECOND).get(PATH).await.body;
    assert_eq!((&view["source"], &view["rules"]), (&json!("order"), &json!(RULES)));
    assert_eq!(
        (&view["order"]["requestedBy"], &view["order"]["approvedBy"]),
        (&json!(FIRST), &json!(SECOND))
    );

    let back = gateway.request_override("").await;
    assert_eq!(gateway.approve(&back, SECOND).await.body["source"], "defaults");
    assert!(!is_blocked(&gateway).await);
    let (requests, said) = (format!("requested {FIRST}"), format!("approved {SECOND}"));
    assert_eq!(gateway.audit().await, [&*requests, &said, &requests, &said]);
}

#[tokio::test]
async fn a_requester_cannot_approve_and_the_attempt_is_audited() {
    let gateway = TestGateway::open().await;
    let id = gateway.request_override(RULES).await;
    gateway.approve(&id, FIRST).await.problem(403, "MELMASTOON.BFF.ADMIN_SECOND_PERSON_REQUIRED");
    assert!(!is_blocked(&gateway).await);
    assert_eq!(gateway.audit().await, [format!("requested {FIRST}"), format!("refused {FIRST}")]);
    // Nobody else's business either.
    gateway.approve(&id, SCHEDULER).await.problem(403, "MELMASTOON.GENERAL.FORBIDDEN");
}

#[tokio::test]
async fn a_request_is_approved_once() {
    let gateway = TestGateway::open().await;
    let id = gateway.request_override(RULES).await;
    let (one, other) = tokio::join!(gateway.approve(&id, SECOND), gateway.approve(&id, SECOND));
    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    gateway.approve(&id, SECOND).await.problem(409, "MELMASTOON.BFF.ADMIN_REQUEST_CLOSED");
    assert_eq!(gateway.database.rows("SELECT request_id FROM bff.edge_rules").await, [id]);
}

#[tokio::test]
async fn a_request_that_waited_too_long_cannot_be_approved() {
    let now = Arc::new(Mutex::new(Clock::system().now()));
    let read = Arc::clone(&now);
    let clock = Clock::from_fn(move || *read.lock().unwrap());
    let gateway = TestGateway::at(clock).await;
    let id = gateway.request_override(RULES).await;
    *now.lock().unwrap() += SignedDuration::from_mins(10);
    gateway.approve(&id, SECOND).await.problem(409, "MELMASTOON.BFF.ADMIN_REQUEST_CLOSED");
    assert!(!is_blocked(&gateway).await);
}

#[tokio::test]
async fn rules_with_a_mistake_are_refused_with_the_parser_s_sentence() {
    let gateway = TestGateway::open().await;
    for (rules, word) in [
        ("\n[[deny]]\nname = \"x", "The rules are invalid: line 3, column "),
        ("[limits.address]\nrequests = 1\nper_seconds = 9999", "limits.address"),
    ] {
        let response = gateway.account(FIRST).post(PATH).json(&body(rules)).await;
        let response = response.problem(400, "MELMASTOON.GENERAL.VALIDATION_FAILED");
        let detail = response.body["detail"].as_str().unwrap();
        assert!(detail.contains(word) && !detail.contains('\n'), "{detail}");
    }
    let silent =
        gateway.account(FIRST).post(PATH).json(&json!({"rules": RULES, "reason": ""})).await;
    assert_eq!(silent.body["errors"][0]["field"], "body.reason");
    assert!(gateway.audit().await.is_empty());
    let unknown = gateway.approve("req_01K0000000000000000000000A", SECOND).await;
    unknown.problem(404, "MELMASTOON.GENERAL.RESOURCE_NOT_FOUND");
}

/// Waits, for the contract's five seconds, until another instance that shares this Redis applies the
/// override.
async fn wait_for_override(gateway: &TestGateway, url: &str) -> Source {
    let rules = Arc::new(Firewall::new(crate::firewall::file::parse("").unwrap(), 1));
    let state = &gateway.state;
    let (redis, clock) = (state.session_redis.0.clone(), gateway.clock.clone());
    let orders = RuleOverrides::new(Arc::clone(&rules), state.database.clone(), redis, clock);
    orders.follow(redis::Client::open(url).unwrap(), &state.background);
    let mut look = interval(Duration::from_millis(20));
    let wait_for_override = async {
        while rules.active().0 != Source::Override {
            look.tick().await;
        }
    };
    let _ = timeout(Duration::from_secs(5), wait_for_override).await;
    rules.active().0
}

#[tokio::test]
async fn other_instances_apply_an_override_with_and_without_the_session_store() {
    let gateway = TestGateway::open().await;
    let id = gateway.request_override(RULES).await;
    let (url, order) = (session_url(), gateway.approve(&id, SECOND));
    let (view, deaf, approved) = tokio::join!(
        wait_for_override(&gateway, &url),
        wait_for_override(&gateway, UNREACHABLE_REDIS),
        order
    );
    assert_eq!((approved.status.as_u16(), view, deaf), (200, Source::Override, Source::Override));
}

#[tokio::test]
async fn an_override_survives_changes_of_the_file_and_a_lost_database() {
    let gateway = TestGateway::open().await;
    let id = gateway.request_override(RULES).await;
    gateway.approve(&id, SECOND).await;
    let rules = &gateway.state.firewall;
    rules.set_file_rules(crate::firewall::file::parse("").unwrap());
    assert!(is_blocked(&gateway).await);
    gateway.database.go_away().await;
    assert!(gateway.state.rule_overrides.poll().await.is_err());
    assert!(is_blocked(&gateway).await);
    let lost = gateway.account(FIRST).post(PATH).json(&body("")).await;
    lost.problem(503, "MELMASTOON.BFF.STORE_UNAVAILABLE");
}

#[tokio::test]
async fn the_active_rules_are_shown_while_a_poll_waits_for_the_database() {
    let gateway = TestGateway::open().await;
    let _held = gateway.database.lock_table("bff.edge_rules").await;
    let mut poll = pin!(gateway.state.rule_overrides.poll());
    assert!(timeout(Duration::from_millis(200), &mut poll).await.is_err(), "it waits");
    let view = timeout(Duration::from_secs(5), gateway.account(FIRST).get(PATH).into_future());
    assert_eq!(view.await.expect("the view does not wait").status(200).body["source"], "defaults");
}
