//! Emergency override of firewall rules by two operators, on every instance within seconds.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use contracts::clock::Clock;
use jiff::SignedDuration;
use serde_json::{Value, json};
use tokio::time::{interval, timeout};

use crate::firewall::rule_override::RuleOverrides;
use crate::firewall::{Firewall, Source};
use crate::tests::internal::Guarded;
use crate::tests::issuer::{FIRST, Issuer, SCHEDULER, SECOND};
use crate::tests::test_gateway::{Answer, TestGateway, session_url};

const PATH: &str = "/internal/admin/edge-rules";
const DASHBOARD: &str = "/api/bff/backoffice/v1/session";
const RULES: &str =
    "[[deny]]\nname = \"botnet\"\nmode = \"enforce\"\naddresses = [\"203.0.113.0/24\"]\n";
const BLOCKED: &str = "203.0.113.9";

fn body(rules: &str) -> Value {
    json!({"rules": rules, "reason": "a botnet asks for everything"})
}

impl Guarded {
    async fn request_override(&self, rules: &str) -> String {
        let answer = self.post(PATH, Some(FIRST), &body(rules)).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        answer.body["id"].as_str().unwrap().to_owned()
    }

    async fn approve(&self, id: &str, account: &str) -> Answer {
        self.post(&format!("{PATH}/{id}/approve"), Some(account), &json!({})).await
    }

    async fn audit(&self) -> Vec<String> {
        let sql = "SELECT step || ' ' || account FROM bff.admin_audit ORDER BY sequence";
        self.gateway.database.rows(sql).await
    }
}

async fn is_blocked(gateway: &TestGateway) -> bool {
    let request = gateway.request(DASHBOARD).header("x-forwarded-for", BLOCKED);
    gateway.send(request).await.body["code"] == "MELMASTOON.BFF.EDGE_BLOCKED"
}

#[tokio::test]
async fn two_people_put_rules_into_force_and_take_them_back() {
    let guarded = Guarded::open().await;
    let id = guarded.request_override(RULES).await;
    assert!(!is_blocked(&guarded.gateway).await, "nothing holds until it is approved");

    let approved = guarded.approve(&id, SECOND).await;
    assert_eq!(approved.status, 200, "{}", approved.body);
    assert!(is_blocked(&guarded.gateway).await);
    let view = guarded.get(PATH, SECOND).await.body;
    assert_eq!((&view["source"], &view["rules"]), (&json!("order"), &json!(RULES)));
    assert_eq!(
        (&view["order"]["requestedBy"], &view["order"]["approvedBy"]),
        (&json!(FIRST), &json!(SECOND))
    );

    let back = guarded.request_override("").await;
    assert_eq!(guarded.approve(&back, SECOND).await.body["source"], "defaults");
    assert!(!is_blocked(&guarded.gateway).await);
    let (requests, said) = (format!("requested {FIRST}"), format!("approved {SECOND}"));
    assert_eq!(guarded.audit().await, [&*requests, &said, &requests, &said]);
}

#[tokio::test]
async fn a_requester_cannot_approve_and_the_attempt_is_audited() {
    let guarded = Guarded::open().await;
    let id = guarded.request_override(RULES).await;
    let alone = guarded.approve(&id, FIRST).await;
    alone.is_problem(403, "MELMASTOON.BFF.ADMIN_SECOND_PERSON_REQUIRED");
    assert!(!is_blocked(&guarded.gateway).await);
    assert_eq!(guarded.audit().await, [format!("requested {FIRST}"), format!("refused {FIRST}")]);
    // Nobody else's business either.
    guarded.approve(&id, SCHEDULER).await.is_problem(403, "MELMASTOON.GENERAL.FORBIDDEN");
}

#[tokio::test]
async fn a_request_is_approved_once() {
    let guarded = Guarded::open().await;
    let id = guarded.request_override(RULES).await;
    let (one, other) = tokio::join!(guarded.approve(&id, SECOND), guarded.approve(&id, SECOND));
    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    let again = guarded.approve(&id, SECOND).await;
    again.is_problem(409, "MELMASTOON.BFF.ADMIN_REQUEST_CLOSED");
    assert_eq!(guarded.gateway.database.rows("SELECT request_id FROM bff.edge_rules").await, [id]);
}

#[tokio::test]
async fn a_request_that_waited_too_long_cannot_be_approved() {
    let now = Arc::new(Mutex::new(Clock::system().now()));
    let read = Arc::clone(&now);
    let clock = Clock::from_fn(move || *read.lock().unwrap());
    let guarded = Guarded::around(TestGateway::at(clock).await, Issuer::open().await);
    let id = guarded.request_override(RULES).await;
    *now.lock().unwrap() += SignedDuration::from_mins(10);
    let late = guarded.approve(&id, SECOND).await;
    late.is_problem(409, "MELMASTOON.BFF.ADMIN_REQUEST_CLOSED");
    assert!(!is_blocked(&guarded.gateway).await);
}

#[tokio::test]
async fn rules_with_a_mistake_are_refused_with_the_parser_s_sentence() {
    let guarded = Guarded::open().await;
    for (rules, word) in [
        ("[[deny]]\nname = \"x\"", "TOML"),
        ("[limits.address]\nrequests = 1\nper_seconds = 9999", "limits.address"),
    ] {
        let answer = guarded.post(PATH, Some(FIRST), &body(rules)).await;
        answer.is_problem(400, "MELMASTOON.GENERAL.VALIDATION_FAILED");
        assert!(answer.body["detail"].as_str().unwrap().contains(word), "{}", answer.body);
    }
    let silent = guarded.post(PATH, Some(FIRST), &json!({"rules": RULES, "reason": ""})).await;
    assert_eq!(silent.body["errors"][0]["field"], "body.reason");
    assert!(guarded.audit().await.is_empty());
    guarded
        .approve("req_01K0000000000000000000000A", SECOND)
        .await
        .is_problem(404, "MELMASTOON.GENERAL.RESOURCE_NOT_FOUND");
}

/// Waits for another instance with this session store to apply the override within the contract's 5
/// s.
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
    let guarded = Guarded::open().await;
    let id = guarded.request_override(RULES).await;
    let (url, order) = (session_url(), guarded.approve(&id, SECOND));
    let (view, deaf, approved) = tokio::join!(
        wait_for_override(&guarded.gateway, &url),
        wait_for_override(&guarded.gateway, "redis://127.0.0.1:1/"),
        order
    );
    assert_eq!((approved.status.as_u16(), view, deaf), (200, Source::Override, Source::Override));
}

#[tokio::test]
async fn an_override_survives_changes_of_the_file_and_a_lost_database() {
    let guarded = Guarded::open().await;
    let id = guarded.request_override(RULES).await;
    guarded.approve(&id, SECOND).await;
    let rules = &guarded.gateway.state.firewall;
    rules.set_file_rules(crate::firewall::file::parse("").unwrap());
    assert!(is_blocked(&guarded.gateway).await);
    guarded.gateway.database.go_away().await;
    assert!(guarded.gateway.state.rule_overrides.poll().await.is_err());
    assert!(is_blocked(&guarded.gateway).await);
    let lost = guarded.post(PATH, Some(FIRST), &body("")).await;
    lost.is_problem(503, "MELMASTOON.BFF.STORE_UNAVAILABLE");
}
