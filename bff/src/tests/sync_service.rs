//! A fake sync-service on a socket, which knows cursors and responds as the test says.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use contracts::clock::{Clock, wire_time};
use contracts::id::PropertyId;
use contracts::problem::{CONTENT_TYPE, Problem, code};
use contracts::upstream::Upstream;
use http::{HeaderMap, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use service_kit::lifecycle::Lifecycle;
use service_kit::serve::{Plain, bind, serve};
use tokio::sync::Notify;

use crate::tests::test_gateway::TestGateway;

#[derive(Debug, Clone)]
pub(crate) enum Behavior {
    Well,
    /// Answers this status without a body.
    Fails(u16),
    /// Refuses with this status and code.
    Refuses(u16, &'static str),
    /// Answers this.
    Says(Value),
    /// Never responds.
    Hangs,
}

#[derive(Clone)]
pub(crate) struct SyncService(Arc<Mutex<FakeState>>, Arc<Notify>);

struct FakeState {
    behavior: Behavior,
    property: PropertyId,
    /// By device: version, and when it pulled last.
    cursors: BTreeMap<String, (u64, Timestamp)>,
    /// Bodies of handshakes, with their keys.
    requests: Vec<(String, Value)>,
}

impl SyncService {
    /// A gateway and its fake sync-service.
    pub(crate) async fn with_gateway() -> (TestGateway, Self) {
        let gateway = TestGateway::open().await;
        let locked = FakeState {
            behavior: Behavior::Well,
            property: gateway.property,
            cursors: BTreeMap::new(),
            requests: Vec::new(),
        };
        let service = Self(Arc::new(Mutex::new(locked)), Arc::default());
        let app = Router::new()
            .route("/api/v1/sync/handshake", post(handshake))
            .route("/api/v1/sync/tenants/{tenant}/cursors", get(cursors))
            .with_state(service.clone());
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        serve(listener, Plain, app, &Lifecycle::new());
        service.knows(gateway.device, 7, SignedDuration::from_mins(10));
        let gateway = gateway.asking(Upstream::Sync, &url);
        // The cache waits less than a connection may take on a busy machine.
        drop(gateway.state.database.connection().await.unwrap());
        (gateway, service)
    }

    /// The device pulled this version so long ago.
    pub(crate) fn knows(&self, device: impl ToString, version: u64, ago: SignedDuration) {
        let at = Clock::system().now() - ago;
        self.locked().cursors.insert(device.to_string(), (version, at));
    }

    pub(crate) fn forgets(&self, device: impl ToString) {
        self.locked().cursors.remove(&device.to_string());
    }

    pub(crate) fn set_behavior(&self, behavior: Behavior) {
        self.locked().behavior = behavior;
        self.1.notify_waiters();
    }

    pub(crate) fn requests(&self) -> Vec<(String, Value)> {
        self.locked().requests.clone()
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, FakeState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Response of the current mode; `None` when it works.
    async fn scripted_response(&self) -> Option<Response> {
        let behavior = self.locked().behavior.clone();
        Some(match behavior {
            Behavior::Well => return None,
            Behavior::Fails(status) => StatusCode::from_u16(status).unwrap().into_response(),
            Behavior::Refuses(status, name) => {
                let mut problem = Problem::new(&code::OCC_CONFLICT, "sync-service says no.");
                (problem.status, problem.code) = (status, name.into());
                let status = StatusCode::from_u16(status).unwrap();
                (status, [("content-type", CONTENT_TYPE)], axum::Json(problem)).into_response()
            }
            Behavior::Says(body) => axum::Json(body).into_response(),
            Behavior::Hangs => {
                self.1.notified().await;
                StatusCode::SERVICE_UNAVAILABLE.into_response()
            }
        })
    }

    fn cursor(&self, device: &str) -> Value {
        let (version, at) = self.locked().cursors[device];
        json!({"deviceId": device, "version": version, "lastPullAt": wire_time(at)})
    }
}

async fn handshake(
    State(service): State<SyncService>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let key = headers["idempotency-key"].to_str().unwrap().to_owned();
    service.locked().requests.push((key, serde_json::from_slice(&body).unwrap()));
    if let Some(response) = service.scripted_response().await {
        return response;
    }
    let device = device(&headers);
    axum::Json(json!({
        "propertyId": service.locked().property, "cursor": service.cursor(&device),
        "pullUrl": "https://sync.test/sync/v1/pull", "pushUrl": "https://sync.test/sync/v1/push",
        "fullResync": service.locked().requests.last().unwrap().1["cursorVersion"].is_null(),
    }))
    .into_response()
}

/// Of the request token.
fn device(headers: &HeaderMap) -> String {
    let token = headers["authorization"].to_str().unwrap().strip_prefix("Bearer ").unwrap();
    let claims = auth::jwt::decoded(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    claims["device_id"].as_str().unwrap().to_owned()
}

async fn cursors(
    State(service): State<SyncService>,
    Path(_tenant): Path<String>,
    Query(of): Query<BTreeMap<String, String>>,
) -> Response {
    if let Some(response) = service.scripted_response().await {
        return response;
    }
    let devices: Vec<String> = service.locked().cursors.keys().cloned().collect();
    let items: Vec<Value> = devices.iter().map(|device| service.cursor(device)).collect();
    let now = wire_time(Clock::system().now());
    axum::Json(json!({"propertyId": of["propertyId"], "asOf": now, "items": items})).into_response()
}
