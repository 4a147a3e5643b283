//! Events and their delivery to subscribers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use auth::jwks::KeySet;
use auth::oidc::verify;
use auth::token::TokenRules;
use axum::Router;
use axum::extract::State;
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use contracts::event::CloudEvent;
use contracts::upstream::Upstream::{Iam, Tenant};
use contracts::upstream::iam::SESSION_REVOKED;
use contracts::upstream::tenant::{
    OperatorProfile, TENANT_REACTIVATED, TENANT_SUSPENDED, TenantStatus,
};
use garde::Validate;
use http::{HeaderMap, StatusCode};
use jiff::SignedDuration;
use serde_json::{Value, json};
use service_kit::lifecycle::Lifecycle;
use stand_ins::config::{Config, SubscriberConfig};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::platform::{self, Desktop, TestPlatform, refresh_form};

const AUDIENCE: &str = "http://gateway.internal";

/// One received push.
struct Push {
    token: String,
    body: Value,
}

impl Push {
    fn event(&self) -> CloudEvent {
        let data = self.body["message"]["data"].as_str().unwrap();
        serde_json::from_slice(&STANDARD.decode(data).unwrap()).unwrap()
    }
}

/// A subscriber that refuses the first pushes.
struct Subscriber {
    pushes: UnboundedReceiver<Push>,
    refusals: Arc<AtomicU32>,
    lifecycle: Lifecycle,
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.lifecycle.stop();
    }
}

type Inbox = (UnboundedSender<Push>, Arc<AtomicU32>);

async fn take(
    State((inbox, refusals)): State<Inbox>,
    headers: HeaderMap,
    body: axum::Json<Value>,
) -> StatusCode {
    let token = headers["authorization"].to_str().unwrap().to_owned();
    // The test may have ended.
    let _ = inbox.send(Push { token, body: body.0 });
    let one_less = |left: u32| left.checked_sub(1);
    match refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less) {
        Ok(_) => StatusCode::SERVICE_UNAVAILABLE,
        Err(_) => StatusCode::NO_CONTENT,
    }
}

async fn start(refusals: u32) -> (TestPlatform, Subscriber) {
    let (lifecycle, refusals) = (Lifecycle::new(), Arc::new(AtomicU32::new(refusals)));
    let (sender, pushes) = unbounded_channel();
    let listener = service_kit::serve::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let url = format!("http://{}/internal/events", listener.local_addr().unwrap());
    let app = Router::new().route("/internal/events", post(take));
    let app = app.with_state((sender, Arc::clone(&refusals)));
    service_kit::serve::serve(listener, service_kit::serve::Plain, app, &lifecycle);
    let platform = platform::start_with(|config| {
        let subscriber = SubscriberConfig { url, audience: AUDIENCE.to_owned() };
        config.events.subscribers.insert("bff".to_owned(), subscriber);
        config.events.first_retry_ms = 1;
    });
    (platform.await, Subscriber { pushes, refusals, lifecycle })
}

/// An event of the first tenant about `subject`.
fn event(platform: &TestPlatform, kind: &str, subject: &str, data: Value) -> Value {
    let tenant = platform.demo.tenants[0].id;
    let id = contracts::clock::Entropy::system().u128();
    let id: contracts::id::EventId = contracts::id::Id::from_parts(platform.now(), id);
    json!({
        "specversion": "1.0", "id": id, "source": "/services/test", "type": kind, "subject": subject,
        "time": contracts::clock::wire_time(platform.now()), "datacontenttype": "application/json",
        "tenantid": tenant, "orderingkey": format!("{tenant}:{subject}"), "correlationid": "c",
        "actortype": "system", "actorid": "sys", "retentionclass": "audit", "data": data,
    })
}

async fn publish(platform: &TestPlatform, event: &Value) -> (u16, Value) {
    let response = platform.http.post(platform.control("events")).json(event).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn dead_letters(platform: &TestPlatform) -> Vec<Value> {
    let response = platform.http.get(platform.control("dead-letters")).send().await.unwrap();
    response.json::<Value>().await.unwrap()["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_revoked_session_is_pushed_to_the_gateway_by_the_events_account() {
    let (platform, mut subscriber) = start(0).await;
    let (operator, desktop) = (platform.operator("frontdesk", "kabul"), Desktop::new());
    let first = platform.sign_in(operator, &desktop).await.refresh_token.unwrap();
    for status in [200, 400] {
        let response = platform.token(&refresh_form(&first), &desktop.proof(&platform)).await;
        assert_eq!(response.status(), status);
        platform.pass(SignedDuration::from_secs(30));
    }
    let push = subscriber.pushes.recv().await.unwrap();
    let listed = push.event();
    assert_eq!((listed.kind.as_str(), listed.tenantid), (SESSION_REVOKED, operator.tenant_id));
    assert_eq!(
        (&listed.data["kind"], &listed.data["id"]),
        (&"session".into(), &listed.subject.into())
    );
    assert_eq!(push.body["message"]["messageId"], listed.id.as_str());
    assert_eq!(push.body["message"]["orderingKey"], listed.orderingkey);

    let keys = platform.http.get(platform.url(Iam, "/oidc/jwks")).send().await.unwrap();
    let keys = KeySet::parse(&keys.bytes().await.unwrap()).unwrap();
    let issuer = format!("{}/oidc", platform.running.issuer);
    let rules = TokenRules { issuer, audience: AUDIENCE.to_owned() };
    let token = push.token.strip_prefix("Bearer ").unwrap();
    let account = verify(token, &keys, &rules, platform.now()).unwrap();
    assert_eq!(account.email, "events@demo.melmastoon.example");
}

#[tokio::test]
async fn a_published_revocation_ends_the_sessions_at_iam_too() {
    let (platform, mut subscriber) = start(0).await;
    let (operator, desktop) = (platform.operator("frontdesk", "kabul"), Desktop::new());
    let colleague = platform.operator("gm", "kabul");
    let own = platform.sign_in(operator, &desktop).await.refresh_token.unwrap();
    let theirs = platform.sign_in(colleague, &desktop).await.refresh_token.unwrap();
    let data = json!({"kind": "operator", "id": operator.id, "reason": "Left the hotel."});
    let event = event(&platform, SESSION_REVOKED, operator.id.as_str(), data);
    assert_eq!(publish(&platform, &event).await, (202, json!({"id": event["id"]})));
    for (token, status) in [(own, 400), (theirs, 200)] {
        let response = platform.token(&refresh_form(&token), &desktop.proof(&platform)).await;
        assert_eq!(response.status(), status);
    }
    assert_eq!(json!(subscriber.pushes.recv().await.unwrap().event()), event);
}

#[tokio::test]
async fn a_suspended_tenant_is_suspended_until_it_is_reactivated() {
    let (platform, mut subscriber) = start(0).await;
    let operator = platform.operator("frontdesk", "kabul");
    let path = format!("/api/v1/tenants/{}/operators/{}", operator.tenant_id, operator.id);
    for (kind, status) in
        [(TENANT_SUSPENDED, TenantStatus::Suspended), (TENANT_REACTIVATED, TenantStatus::Active)]
    {
        let data = json!({"reason": "An invoice."});
        let event = event(&platform, kind, operator.tenant_id.as_str(), data);
        assert_eq!(publish(&platform, &event).await.0, 202);
        let profile: OperatorProfile =
            platform.get(Tenant, &path, operator).await.json().await.unwrap();
        assert_eq!(profile.tenant_status, status);
        assert_eq!(subscriber.pushes.recv().await.unwrap().event().kind, kind);
    }
}

#[tokio::test]
async fn an_event_with_invalid_data_is_neither_applied_nor_pushed() {
    let (platform, mut subscriber) = start(0).await;
    for (kind, subject, data) in [
        (SESSION_REVOKED, "s", json!({"kind": "room", "id": "207", "reason": "r"})),
        (SESSION_REVOKED, "s", json!({"kind": "operator", "id": "207", "reason": "r"})),
        (SESSION_REVOKED, "s", json!({})),
        (TENANT_SUSPENDED, "another", json!({"reason": "r"})),
    ] {
        let event = event(&platform, kind, subject, data);
        assert_eq!(publish(&platform, &event).await.0, 400, "{event}");
    }
    assert!(subscriber.pushes.try_recv().is_err());
}

#[tokio::test]
async fn an_event_that_is_refused_is_delivered_again_before_the_next_of_its_key() {
    let (platform, mut subscriber) = start(3).await;
    let kind = "melmastoon.reservation.stay.checked_out.v1";
    let (one, two) =
        (event(&platform, kind, "rsv_1", json!({})), event(&platform, kind, "rsv_1", json!({})));
    assert_eq!(publish(&platform, &one).await.0, 202);
    assert_eq!(publish(&platform, &two).await.0, 202);
    for (expected, attempt) in [(&one, 1), (&one, 2), (&one, 3), (&one, 4), (&two, 1)] {
        let push = subscriber.pushes.recv().await.unwrap();
        assert_eq!(push.body["message"]["messageId"], expected["id"]);
        assert_eq!(push.body["deliveryAttempt"], attempt);
    }
    assert!(dead_letters(&platform).await.is_empty());
}

#[tokio::test]
async fn an_event_is_a_dead_letter_after_ten_deliveries_and_blocks_no_other_key() {
    let (platform, mut subscriber) = start(u32::MAX).await;
    let kind = "melmastoon.reservation.stay.checked_out.v1";
    let poison = event(&platform, kind, "rsv_1", json!({}));
    assert_eq!(publish(&platform, &poison).await.0, 202);
    for attempt in 1..=10 {
        let push = subscriber.pushes.recv().await.unwrap();
        assert_eq!(push.body["deliveryAttempt"], attempt);
    }
    let dead = async {
        loop {
            match dead_letters(&platform).await.pop() {
                Some(letter) => break letter,
                None => tokio::task::yield_now().await,
            }
        }
    };
    let letter = tokio::time::timeout(std::time::Duration::from_secs(10), dead).await.unwrap();
    assert_eq!((&letter["subscriber"], &letter["deliveries"]), (&"bff".into(), &10.into()));
    assert_eq!(letter["event"], poison);
    assert_eq!(letter["lastRefusal"], "503 Service Unavailable");
    subscriber.refusals.store(0, Ordering::SeqCst);
    let next = event(&platform, kind, "rsv_1", json!({}));
    assert_eq!(publish(&platform, &next).await.0, 202);
    let push = subscriber.pushes.recv().await.unwrap();
    assert_eq!(push.body["message"]["messageId"], next["id"], "the line is stuck");
}

#[test]
fn pushing_without_the_account_that_pushes_is_refused_at_start() {
    let mut config = platform::config("iam.pem".into(), "http://127.0.0.1:1/jwks".to_owned());
    let subscriber =
        SubscriberConfig { url: "http://127.0.0.1:1".to_owned(), audience: "a".to_owned() };
    config.events.subscribers.insert("bff".to_owned(), subscriber);
    let refused = |config: &Config| {
        config.validate().unwrap_err().to_string().contains("MELMASTOON_OIDC__ACCOUNTS__EVENTS")
    };
    assert!(!refused(&config), "the files are missing, and nothing else");
    config.oidc.as_mut().unwrap().accounts.remove("events");
    assert!(refused(&config));
}
