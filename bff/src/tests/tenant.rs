//! A fake tenant-service on a socket, which responds as the test says.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use contracts::clock::{Clock, wire_time};
use contracts::problem::{CONTENT_TYPE, Problem, code};
use contracts::upstream::Upstream;
use http::StatusCode;
use jiff::SignedDuration;
use serde_json::{Value, json};
use service_kit::lifecycle::Lifecycle;
use service_kit::serve::{Plain, bind, serve};
use tokio::sync::Notify;
use upstream_clients::BaseUrls;

use crate::tests::test_gateway::{TestGateway, TestOptions};

/// How it responds.
#[derive(Clone)]
pub(crate) enum Behavior {
    /// A good profile, with these members instead.
    Says(Value),
    /// It has no such operator.
    KnowsNobody,
    /// Without a body.
    Refuses(u16),
    /// Never responds, until the mode changes.
    Hangs,
}

#[derive(Clone)]
pub(crate) struct Tenant {
    behavior: Arc<Mutex<Behavior>>,
    requests: Arc<AtomicUsize>,
    changed: Arc<Notify>,
    clock: Clock,
}

impl Tenant {
    /// A gateway with this tenant-service.
    pub(crate) async fn with_gateway(behavior: Behavior) -> (Self, TestGateway) {
        Self::with_options(behavior, TestOptions::usual()).await
    }

    pub(crate) async fn with_options(
        behavior: Behavior,
        options: TestOptions,
    ) -> (Self, TestGateway) {
        let behavior = Arc::new(Mutex::new(behavior));
        let tenant = Self {
            behavior,
            requests: Arc::default(),
            changed: Arc::default(),
            clock: options.clock.clone(),
        };
        let app =
            Router::new().route("/api/v1/tenants/{tenant}/operators/{operator}", get(respond));
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        serve(listener, Plain, app.with_state(tenant.clone()), &Lifecycle::new());
        let upstreams = BaseUrls::from([(Upstream::Tenant, url.parse().unwrap())]);
        let gateway = TestGateway::build(TestOptions { upstreams, ..options }).await;
        tenant.grants(&gateway);
        (tenant, gateway)
    }

    /// Adds the gateway's property to the profile, unless the test sets one.
    fn grants(&self, gateway: &TestGateway) {
        let mut behavior = self.behavior.lock().unwrap();
        if let Behavior::Says(said) = &mut *behavior
            && said.get("propertyIds").is_none()
        {
            said["propertyIds"] = json!([gateway.property]);
        }
    }

    pub(crate) fn set_behavior(&self, behavior: Behavior) {
        *self.behavior.lock().unwrap() = behavior;
        self.changed.notify_waiters();
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

async fn respond(
    State(fake): State<Tenant>,
    Path((tenant, operator)): Path<(String, String)>,
) -> Response {
    fake.requests.fetch_add(1, Ordering::Relaxed);
    let mut behavior = fake.behavior.lock().unwrap().clone();
    while matches!(behavior, Behavior::Hangs) {
        fake.changed.notified().await;
        behavior = fake.behavior.lock().unwrap().clone();
    }
    match behavior {
        Behavior::KnowsNobody => not_found(),
        Behavior::Refuses(status) => StatusCode::from_u16(status).unwrap().into_response(),
        Behavior::Hangs => unreachable!("it waited for another mood"),
        Behavior::Says(said) => {
            let mut profile = json!({
                "tenantId": tenant, "operatorId": operator, "tenantStatus": "active",
                "displayName": "Mina", "locale": "fa-AF", "roles": ["front_desk"],
                "asOf": wire_time(fake.clock.now()),
            });
            let said = said.as_object().unwrap().clone();
            profile.as_object_mut().unwrap().extend(said);
            axum::Json(profile).into_response()
        }
    }
}

/// As the services response it.
pub(crate) fn not_found() -> Response {
    let problem = Problem::new(&code::RESOURCE_NOT_FOUND, "There is no such thing.");
    (StatusCode::NOT_FOUND, [("content-type", CONTENT_TYPE)], axum::Json(problem)).into_response()
}

/// A clock that a test moves.
#[derive(Clone)]
pub(crate) struct Hands(Arc<Mutex<SignedDuration>>);

impl Hands {
    pub(crate) fn new() -> (Self, Clock) {
        let hands = Self(Arc::default());
        let (ahead, system) = (hands.clone(), Clock::system());
        let clock = Clock::from_fn(move || system.now() + *ahead.0.lock().unwrap());
        (hands, clock)
    }

    pub(crate) fn forward(&self, minutes: i64) {
        *self.0.lock().unwrap() += SignedDuration::from_mins(minutes);
    }
}
