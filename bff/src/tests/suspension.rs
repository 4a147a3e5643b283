//! Suspended tenants: refused with 503 on every instance, by event or profile.

use std::time::Duration;

use contracts::clock::wire_time;
use contracts::id::EventId;
use jiff::SignedDuration;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::tests::issuer::EVENTS;
use crate::tests::streams;
use crate::tests::tenant::{Behavior, Tenant};
use crate::tests::test_gateway::{TestGateway, UNREACHABLE_REDIS, fresh, push_form, session_url};

const SESSION: &str = "/api/bff/backoffice/v1/session";
const PUSH: &str = "/internal/events";
const SUSPENDED: &str = "melmastoon.tenant.tenant.suspended.v1";
const REACTIVATED: &str = "melmastoon.tenant.tenant.reactivated.v1";
const CODE: &str = "MELMASTOON.TENANT.SUSPENDED";

/// A tenant's event from this many seconds ago.
fn event(gateway: &TestGateway, kind: &str, id: EventId, ago: i64) -> Value {
    let time = gateway.clock.now() - SignedDuration::from_secs(ago);
    push_form(&json!({
        "specversion": "1.0", "id": id, "source": "/services/tenant-service",
        "type": kind, "subject": gateway.tenant, "time": wire_time(time),
        "datacontenttype": "application/json", "tenantid": gateway.tenant,
        "orderingkey": format!("{0}:{0}", gateway.tenant), "correlationid": "c",
        "actortype": "system", "actorid": "tenant-service", "retentionclass": "audit",
        "data": {"reason": "unpaid"},
    }))
}

async fn push_event(gateway: &TestGateway, event: &Value) {
    gateway.account(EVENTS).post(PUSH).json(event).await.status(204);
}

async fn status(gateway: &TestGateway) -> u16 {
    gateway.get(SESSION).await.status.as_u16()
}

#[tokio::test]
async fn a_suspended_tenant_s_operators_are_refused_and_come_back_when_it_is_reactivated() {
    let gateway = TestGateway::open().await;
    assert_eq!(status(&gateway).await, 200);
    push_event(&gateway, &event(&gateway, SUSPENDED, fresh(), 60)).await;
    let token = gateway.token(|_| {});
    let proof = gateway.proof(SESSION, &token, |_| {});
    let request = || gateway.get(SESSION).token(&token).header("dpop", &proof);
    let response = request().await.problem(503, CODE);
    assert_eq!(response.headers["retry-after"], "300");
    assert_eq!(response.body["tenantId"], gateway.tenant.as_str());
    assert_eq!(status(&TestGateway::open().await).await, 200, "another tenant");
    push_event(&gateway, &event(&gateway, REACTIVATED, fresh(), 30)).await;
    assert_eq!(request().await.status, 200, "the refusal burnt no proof");
}

#[tokio::test]
async fn late_and_repeated_events_change_nothing() {
    let gateway = TestGateway::open().await;
    let id: EventId = fresh();
    for _ in 0..2 {
        push_event(&gateway, &event(&gateway, SUSPENDED, id, 60)).await;
    }
    push_event(&gateway, &event(&gateway, REACTIVATED, fresh(), 30)).await;
    assert_eq!(status(&gateway).await, 200);
    push_event(&gateway, &event(&gateway, SUSPENDED, fresh(), 45)).await;
    assert_eq!(status(&gateway).await, 200, "what was said earlier came later");
    let mut wrong = event(&gateway, SUSPENDED, fresh(), 0);
    wrong["message"]["data"] = json!("AAAA");
    let response = gateway.account(EVENTS).post(PUSH).json(&wrong).await;
    response.problem(400, "MELMASTOON.GENERAL.VALIDATION_FAILED");
}

#[tokio::test]
async fn other_instances_apply_it_also_those_started_later() {
    let here = TestGateway::open().await;
    let there = here.another();
    there.follow(&session_url());
    let stream = there.stream().await;
    push_event(&here, &event(&here, SUSPENDED, fresh(), 1)).await;
    let text = streams::rest(stream).await;
    let last = "event: session.force_logout\ndata: {\"reason\":\"tenant_suspended\"}";
    assert!(text.contains(last), "{text}");
    there.get(SESSION).await.problem(503, CODE);

    let later = here.another();
    let mut changes = later.state.tenant_statuses.changes();
    // Postgres is polled.
    later.follow(UNREACHABLE_REDIS);
    timeout(Duration::from_secs(5), changes.changed()).await.expect("it learns in time").unwrap();
    later.get(SESSION).await.problem(503, CODE);
}

#[tokio::test]
async fn a_profile_reports_suspension_too_and_the_later_report_counts() {
    let (tenant, gateway) =
        Tenant::with_gateway(Behavior::Says(json!({"tenantStatus": "suspended"}))).await;
    gateway.get(SESSION).await.problem(503, CODE);
    push_event(&gateway, &event(&gateway, REACTIVATED, fresh(), 60)).await;
    gateway.get(SESSION).await.problem(503, CODE);
    push_event(&gateway, &event(&gateway, REACTIVATED, fresh(), -5)).await;
    assert_eq!(status(&gateway).await, 200);
    assert_eq!(tenant.requests(), 1);
}
