//! Revocations: refused at once on every instance, with a token that is still valid.

use std::time::Duration;

use contracts::clock::Clock;
use contracts::id::{EventId, OperatorId, RequestId, TenantId};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::tests::call::TestCall;
use crate::tests::issuer::{EVENTS, FIRST};
use crate::tests::streams;
use crate::tests::test_gateway::{TestGateway, UNREACHABLE_REDIS, fresh, push_form, session_url};

const SESSION: &str = "/api/bff/backoffice/v1/session";
const REVOKE: &str = "/internal/sessions/revoke";
const PUSH: &str = "/internal/events";
const ENDED: &str = "MELMASTOON.BFF.SESSION_EXPIRED";

impl TestGateway {
    /// The id of the gateway's own session, device, operator or tenant.
    pub(crate) fn id_of(&self, kind: &str) -> String {
        match kind {
            "session" => self.session.to_string(),
            "device" => self.device.to_string(),
            "operator" => self.operator.to_string(),
            _ => self.tenant.to_string(),
        }
    }

    /// Revokes the gateway's own session, device, operator or tenant.
    pub(crate) async fn revoke(&self, kind: &str) {
        let response = self.account(FIRST).post(REVOKE).json(&self.order(kind)).await.status(200);
        assert_eq!(response.body["repeated"], false);
    }

    fn order(&self, kind: &str) -> Value {
        json!({"tenantId": self.tenant, "kind": kind, "id": self.id_of(kind), "reason": "lost"})
    }

    /// A request with a token that was issued a minute ago.
    fn earlier(&self) -> TestCall<'_> {
        self.get(SESSION).claims(|claims| claims.iat -= 60)
    }
}

/// Waits until the instance refuses the caller.
async fn refused_within(gateway: &TestGateway, most: Duration) {
    let refused = async {
        let mut changes = gateway.state.revocations.live().changes();
        while gateway.earlier().await.status == 200 {
            changes.changed().await.unwrap();
        }
    };
    timeout(most, refused).await.expect("the revocation takes effect in time");
    gateway.earlier().await.problem(401, ENDED);
}

#[tokio::test]
async fn each_kind_of_target_is_refused_on_the_revoking_instance() {
    for kind in ["session", "device", "operator", "tenant"] {
        let gateway = TestGateway::open().await;
        gateway.earlier().await.status(200);
        gateway.revoke(kind).await;
        let response = gateway.earlier().await.problem(401, ENDED);
        let challenge = response.header("www-authenticate");
        assert!(challenge.contains(r#"error="invalid_token""#), "{challenge}");
        // Up to ten seconds ahead of our clock a token is good: this one was issued later.
        let later = gateway.get(SESSION).claims(|claims| claims.iat += 5).await;
        later.status(if kind == "session" { 401 } else { 200 });
    }
}

#[tokio::test]
async fn another_instance_is_notified_through_the_session_store() {
    let here = TestGateway::open().await;
    let there = here.another();
    there.follow(&session_url());
    there.earlier().await.status(200);
    here.revoke("operator").await;
    refused_within(&there, Duration::from_secs(5)).await;
}

#[tokio::test]
async fn another_instance_finds_it_within_five_seconds_without_the_session_store() {
    let here = TestGateway::open().await;
    let there = here.another();
    there.follow(UNREACHABLE_REDIS);
    there.earlier().await.status(200);
    here.revoke("device").await;
    refused_within(&there, Duration::from_secs(5)).await;
}

#[tokio::test]
async fn an_instance_that_starts_later_knows_what_is_live() {
    let here = TestGateway::open().await;
    here.revoke("session").await;
    let started = here.another();
    started.follow(UNREACHABLE_REDIS);
    refused_within(&started, Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_repeated_order_changes_nothing_and_a_wrong_one_is_named() {
    let gateway = TestGateway::open().await;
    let id: RequestId = fresh();
    let send = |order: Value| {
        let call = gateway.account(FIRST).post(REVOKE).json(&order);
        call.header("x-request-id", id.as_str())
    };
    for repeated in [false, true] {
        let response = send(gateway.order("operator")).await.status(200);
        assert_eq!(response.body["repeated"], repeated);
    }
    let wrong = [
        ("kind", json!("hotel"), "body.kind"),
        ("id", json!("opr_x"), "body.id"),
        ("reason", json!(""), "body.reason"),
    ];
    for (member, value, field) in wrong {
        let mut order = gateway.order("operator");
        order[member] = value;
        send(order).await.invalid(field);
    }
    let mut foreign = gateway.order("tenant");
    foreign["id"] = json!(fresh::<TenantId>());
    send(foreign).await.status(400);
}

#[tokio::test]
async fn a_revocation_that_cannot_be_stored_is_refused_and_reads_go_on() {
    let gateway = TestGateway::open().await;
    gateway.database.go_away().await;
    let response = gateway.account(FIRST).post(REVOKE).json(&gateway.order("operator")).await;
    response.problem(503, "MELMASTOON.BFF.STORE_UNAVAILABLE");
    gateway.earlier().await.status(200);
}

/// iam's event in the push form.
fn push(tenant: TenantId, id: EventId, operator: OperatorId) -> Value {
    let event = json!({
        "specversion": "1.0", "id": id, "source": "/services/iam-service",
        "type": "melmastoon.iam.session.revoked.v1", "subject": operator,
        "time": contracts::clock::wire_time(Clock::system().now()),
        "datacontenttype": "application/json", "tenantid": tenant,
        "orderingkey": format!("{tenant}:{operator}"), "correlationid": "c", "actortype": "system",
        "actorid": "iam-service", "retentionclass": "audit",
        "data": {"kind": "operator", "id": operator, "reason": "password_changed"},
    });
    push_form(&event)
}

#[tokio::test]
async fn iam_s_event_revokes_once_and_a_duplicate_is_acknowledged() {
    let gateway = TestGateway::open().await;
    let event = push(gateway.tenant, fresh(), gateway.operator);
    let push_twice = [0, 1].map(|_| gateway.account(EVENTS).post(PUSH).json(&event).into_future());
    for response in join_all(push_twice).await {
        response.status(204);
    }
    gateway.earlier().await.problem(401, ENDED);
    assert_eq!(gateway.state.revocations.live().len(), 1);
    // Of another tenant, the same id means another operator.
    let other = push(fresh(), fresh(), gateway.operator);
    let untouched = TestGateway::open().await;
    untouched.account(EVENTS).post(PUSH).json(&other).await.status(204);
    untouched.earlier().await.status(200);
    let garbage = json!({"message": {"data": "AAAA"}});
    let response = gateway.account(EVENTS).post(PUSH).json(&garbage).await;
    response.problem(400, "MELMASTOON.GENERAL.VALIDATION_FAILED");
}

#[tokio::test]
async fn a_stream_of_the_target_gets_an_event_and_is_closed_and_others_stay_open() {
    let here = TestGateway::open().await;
    let there = here.another();
    there.follow(&session_url());
    let target = there.stream().await;
    let mut other = here.order("operator");
    other["id"] = json!(fresh::<OperatorId>());
    here.account(FIRST).post(REVOKE).json(&other).await.status(200);
    here.revoke("device").await;
    let text = streams::rest(target).await;
    let last = "event: session.force_logout\ndata: {\"reason\":\"lost\"}";
    assert!(text.contains(last), "{text}");
    assert_eq!(text.matches("event: ").count(), 2, "hello, then the end: {text}");
}
