//! Revocations: refused at once on every instance, with a token that is still valid.

use std::time::Duration;

use contracts::clock::Clock;
use contracts::id::{EventId, OperatorId, RequestId, TenantId};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::tests::test_gateway::{TestGateway, fresh, push_form, session_url};

const SESSION: &str = "/api/bff/backoffice/v1/session";
const REVOKE: &str = "/internal/sessions/revoke";
const EVENTS: &str = "/internal/events";
const ENDED: &str = "MELMASTOON.BFF.SESSION_EXPIRED";
/// Nothing listens there.
const UNREACHABLE_REDIS: &str = "redis://127.0.0.1:1/";

async fn revoke(gateway: &TestGateway, kind: &str, id: &str) {
    let body =
        json!({"tenantId": gateway.tenant, "kind": kind, "id": id, "reason": "left_the_house"});
    let answer = gateway.post_internal(REVOKE, fresh::<RequestId>().as_str(), &body).await;
    assert_eq!((answer.status.as_u16(), &answer.body["repeated"]), (200, &json!(false)));
}

/// Returns how long the instance still accepts the caller.
async fn refused_within(gateway: &TestGateway, most: Duration) -> Duration {
    let started = Instant::now();
    let refused = async {
        let mut changes = gateway.state.revocations.live().changes();
        while gateway.send(gateway.request_of_before()).await.status == 200 {
            changes.changed().await.unwrap();
        }
    };
    timeout(most, refused).await.expect("the revocation takes effect in time");
    gateway.send(gateway.request_of_before()).await.is_problem(401, ENDED);
    started.elapsed()
}

impl TestGateway {
    /// With a token that was issued a minute ago.
    fn request_of_before(&self) -> http::request::Builder {
        self.request_issued(-60)
    }

    fn request_issued(&self, seconds: i64) -> http::request::Builder {
        let token = self.token(|claims| claims.iat += seconds);
        let proof = self.proof(SESSION, &token, |_| {});
        self.with(SESSION, &format!("DPoP {token}"), &proof)
    }
}

#[tokio::test]
async fn each_kind_of_target_is_refused_on_the_revoking_instance() {
    for kind in ["session", "device", "operator", "tenant"] {
        let gateway = TestGateway::open().await;
        assert_eq!(gateway.send(gateway.request_of_before()).await.status, 200);
        let id = match kind {
            "session" => gateway.session.to_string(),
            "device" => gateway.device.to_string(),
            "operator" => gateway.operator.to_string(),
            _ => gateway.tenant.to_string(),
        };
        revoke(&gateway, kind, &id).await;
        let answer = gateway.send(gateway.request_of_before()).await;
        answer.is_problem(401, ENDED);
        let challenge = answer.headers["www-authenticate"].to_str().unwrap();
        assert!(challenge.contains(r#"error="invalid_token""#), "{challenge}");
        // Up to ten seconds ahead of our clock a token is good: this one was issued later.
        let status = gateway.send(gateway.request_issued(5)).await.status;
        assert_eq!(status, if kind == "session" { 401 } else { 200 }, "{kind}");
    }
}

#[tokio::test]
async fn another_instance_is_notified_through_the_session_store() {
    let here = TestGateway::open().await;
    let there = here.another();
    there.follow(&session_url());
    assert_eq!(there.send(there.request_of_before()).await.status, 200);
    revoke(&here, "operator", here.operator.as_str()).await;
    refused_within(&there, Duration::from_secs(5)).await;
}

#[tokio::test]
async fn another_instance_finds_it_within_five_seconds_without_the_session_store() {
    let here = TestGateway::open().await;
    let there = here.another();
    there.follow(UNREACHABLE_REDIS);
    assert_eq!(there.send(there.request_of_before()).await.status, 200);
    revoke(&here, "device", here.device.as_str()).await;
    refused_within(&there, Duration::from_secs(5)).await;
}

#[tokio::test]
async fn an_instance_that_starts_later_knows_what_is_live() {
    let here = TestGateway::open().await;
    revoke(&here, "session", here.session.as_str()).await;
    let started = here.another();
    started.follow(UNREACHABLE_REDIS);
    refused_within(&started, Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_repeated_order_changes_nothing_and_a_wrong_one_is_named() {
    let gateway = TestGateway::open().await;
    let id: RequestId = fresh();
    let body = json!({"tenantId": gateway.tenant, "kind": "operator", "id": gateway.operator, "reason": "x"});
    for repeated in [false, true] {
        let answer = gateway.post_internal(REVOKE, id.as_str(), &body).await;
        assert_eq!((answer.status.as_u16(), &answer.body["repeated"]), (200, &json!(repeated)));
    }
    let wrong = [
        ("kind", json!("hotel"), "body.kind"),
        ("id", json!("opr_x"), "body.id"),
        ("reason", json!(""), "body.reason"),
    ];
    for (member, value, field) in wrong {
        let mut body = body.clone();
        body[member] = value;
        let answer = gateway.post_internal(REVOKE, id.as_str(), &body).await;
        answer.is_problem(400, "MELMASTOON.GENERAL.VALIDATION_FAILED");
        assert_eq!(answer.body["errors"][0]["field"], field);
    }
    let foreign = json!({"tenantId": gateway.tenant, "kind": "tenant", "id": fresh::<TenantId>(), "reason": "x"});
    assert_eq!(gateway.post_internal(REVOKE, id.as_str(), &foreign).await.status, 400);
}

#[tokio::test]
async fn a_revocation_that_cannot_be_stored_is_refused_and_reads_go_on() {
    let gateway = TestGateway::open().await;
    gateway.database.go_away().await;
    let body = json!({"tenantId": gateway.tenant, "kind": "operator", "id": gateway.operator, "reason": "x"});
    let answer = gateway.post_internal(REVOKE, fresh::<RequestId>().as_str(), &body).await;
    answer.is_problem(503, "MELMASTOON.BFF.STORE_UNAVAILABLE");
    assert_eq!(gateway.send(gateway.request_of_before()).await.status, 200);
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
    let ids: [RequestId; 2] = [fresh(), fresh()];
    let (first, second) = tokio::join!(
        gateway.post_internal(EVENTS, ids[0].as_str(), &event),
        gateway.post_internal(EVENTS, ids[1].as_str(), &event)
    );
    assert_eq!((first.status.as_u16(), second.status.as_u16()), (204, 204));
    gateway.send(gateway.request_of_before()).await.is_problem(401, ENDED);
    assert_eq!(gateway.state.revocations.live().len(), 1);
    // Of another tenant, the same id means another operator.
    let other = push(fresh(), fresh(), gateway.operator);
    let untouched = TestGateway::open().await;
    assert_eq!(
        untouched.post_internal(EVENTS, fresh::<RequestId>().as_str(), &other).await.status,
        204
    );
    assert_eq!(untouched.send(untouched.request_of_before()).await.status, 200);
    let garbage = json!({"message": {"data": "AAAA"}});
    gateway
        .post_internal(EVENTS, fresh::<RequestId>().as_str(), &garbage)
        .await
        .is_problem(400, "MELMASTOON.GENERAL.VALIDATION_FAILED");
}

#[tokio::test]
async fn a_stream_of_the_target_gets_an_event_and_is_closed_and_others_stay_open() {
    let here = TestGateway::open().await;
    let there = here.another();
    there.follow(&session_url());
    let mut target = there.stream().await;
    revoke(&here, "operator", fresh::<OperatorId>().as_str()).await;
    revoke(&here, "device", here.device.as_str()).await;
    let mut text = String::new();
    let read = async {
        while let Some(frame) = target.frame().await {
            text.push_str(std::str::from_utf8(frame.unwrap().data_ref().unwrap()).unwrap());
        }
    };
    timeout(Duration::from_secs(5), read).await.expect("the stream closes");
    assert!(
        text.contains("event: session.force_logout\ndata: {\"reason\":\"left_the_house\"}"),
        "{text}"
    );
    assert_eq!(text.matches("event: ").count(), 2, "hello, then the end: {text}");
}
