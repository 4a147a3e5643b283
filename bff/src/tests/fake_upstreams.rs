//! Fake upstreams controlled by a test: one axum server that deduplicates by key, as the platform's
//! services do, and counts its effects.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use axum::extract::{OriginalUri, Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use contracts::problem::{Problem, code};
use contracts::upstream::Upstream;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use service_kit::lifecycle::Lifecycle;
use service_kit::serve::{Plain, bind, serve};
use tokio::sync::Semaphore;
use upstream_clients::BaseUrls;

/// How the next call responds; without a command it succeeds.
#[derive(Debug, Clone)]
pub(crate) enum Command {
    /// Does nothing and responds with this status without a body.
    Fail(u16),
    /// Does nothing and responds with this problem.
    Refuse(Box<Problem>),
    /// Executes the call and never responds.
    Vanish,
    /// Does nothing and never responds.
    Swallow,
    /// Executes the call and responds with an invalid body.
    Drift,
    /// Executes the call and responds after [`FakeUpstreams::release`].
    Hold,
}

/// A received call.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) target: String,
    pub(crate) key: Option<String>,
    pub(crate) body: Value,
}

#[derive(Debug)]
pub(crate) struct FakeUpstreams {
    commands: Mutex<VecDeque<Command>>,
    seen: Mutex<Vec<Seen>>,
    /// Responses by key; the length is the number of effects.
    done: Mutex<BTreeMap<String, Value>>,
    calls: Semaphore,
    held: Semaphore,
    locks: Mutex<Locks>,
    /// Property in the responses to check-ins, if any.
    property: Mutex<Option<String>>,
}

/// How lock-integration responds to lookups.
#[derive(Debug, Clone)]
pub(crate) enum Locks {
    /// It has no lock.
    None,
    /// All locks are in this property.
    In(String),
    /// It responds with 503.
    Ill,
    /// It refuses with this problem.
    Refusing(Box<Problem>),
}

impl FakeUpstreams {
    pub(crate) async fn open() -> (Arc<Self>, BaseUrls) {
        Self::open_around(|app| app).await
    }

    /// With additional routes or layers.
    pub(crate) async fn open_around(
        around: impl FnOnce(Router) -> Router,
    ) -> (Arc<Self>, BaseUrls) {
        let fake = Arc::new(Self {
            commands: Mutex::default(),
            seen: Mutex::default(),
            done: Mutex::default(),
            calls: Semaphore::new(0),
            held: Semaphore::new(0),
            locks: Mutex::new(Locks::None),
            property: Mutex::default(),
        });
        let app = Router::new()
            .route("/api/v1/reservations/{id}/check-in", post(change))
            .route("/api/v1/folios/{id}/refunds", post(change))
            .route("/api/v1/locks/{id}", get(device))
            .route("/api/v1/locks/operations/{key}", get(operation))
            .route("/api/v1/locks/{id}/keys", post(change))
            .route("/api/v1/locks/{id}/keys/{key}/revoke", post(change))
            .route("/api/v1/reservations/arrivals", get(read))
            .route("/api/v1/inventory/properties/{id}/availability", get(read))
            .route("/api/v1/inventory/properties/{id}/calendar", get(read))
            .route("/api/v1/housekeeping/board", get(read))
            .route("/api/v1/staff/{what}", get(read))
            .route("/internal/v1/properties/{id}", get(read))
            .with_state(Arc::clone(&fake));
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let url: url::Url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        serve(listener, Plain, around(app), &Lifecycle::new());
        (fake, SERVED_UPSTREAMS.map(|upstream| (upstream, url.clone())).into())
    }

    pub(crate) fn command(&self, command: Command) {
        locked(&self.commands).push_back(command);
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        locked(&self.seen).clone()
    }

    pub(crate) fn effects(&self) -> usize {
        locked(&self.done).len()
    }

    /// Adds this property to the responses to check-ins.
    pub(crate) fn says_property(&self, property: &str) {
        *locked(&self.property) = Some(property.to_owned());
    }

    pub(crate) fn locks(&self, say: Locks) {
        *locked(&self.locks) = say;
    }

    /// Returns after the next call.
    pub(crate) async fn called(&self) {
        self.calls.acquire().await.unwrap().forget();
    }

    /// Releases one held call.
    pub(crate) fn release(&self) {
        self.held.add_permits(1);
    }

    fn record(&self, target: &http::Uri, headers: &HeaderMap, body: &Bytes) -> Option<Command> {
        let key = headers.get("idempotency-key").map(|key| key.to_str().unwrap().to_owned());
        let body = serde_json::from_slice(body).unwrap_or(Value::Null);
        locked(&self.seen).push(Seen { target: target.to_string(), key, body });
        self.calls.add_permits(1);
        locked(&self.commands).pop_front()
    }

    /// Returns the effect of a key, executing it once.
    fn effect(&self, key: &str, path: &str) -> Value {
        let mut done = locked(&self.done);
        let number = done.len() + 1;
        let property = locked(&self.property).clone();
        let make = || {
            let mut made = response(path, number);
            if let Some(property) = property {
                made["propertyId"] = property.into();
            }
            made
        };
        done.entry(key.to_owned()).or_insert_with(make).clone()
    }
}

fn locked<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Upstreams it stands in for.
const SERVED_UPSTREAMS: [Upstream; 7] = [
    Upstream::Reservation,
    Upstream::Billing,
    Upstream::Inventory,
    Upstream::Lock,
    Upstream::Housekeeping,
    Upstream::Staff,
    Upstream::Property,
];
/// Property in the key replies; not checked.
const PROPERTY: &str = "ppt_01K0000000000000000000000A";

fn response(path: &str, number: usize) -> Value {
    let id = path.split('/').nth(4).unwrap();
    if path.ends_with("/refunds") {
        let amount = json!({"amountMicro": "1000000", "currency": "AFN"});
        return json!({"refundId": format!("refund-{number}"), "folioId": id, "amount": amount,
                      "refundedAt": "2026-11-21T12:00:00.000Z"});
    }
    let at = "2026-11-21T12:00:00.000Z";
    let key = format!("key_01K00000000000000000000{number:03}");
    if path.ends_with("/keys") {
        return json!({"keyCredentialId": key, "lockId": id, "propertyId": PROPERTY, "kind": "pin_code",
                      "reservationId": "rsv_01K0000000000000000000000A", "roomIds": [], "state": "active",
                      "vendor": "ttlock", "validFrom": at, "validUntil": at, "issuedAt": at});
    }
    if path.ends_with("/revoke") {
        let key = path.split('/').nth(6).unwrap();
        return json!({"keyCredentialId": key, "lockId": id, "propertyId": PROPERTY, "state": "revoked",
                      "vendor": "ttlock", "revokedAt": at});
    }
    json!({"reservationId": id, "state": "in_house", "roomId": "rom_01K0000000000000000000000A",
           "checkedInAt": "2026-11-21T12:00:00.000Z", "effect": number})
}

async fn change(
    State(fake): State<Arc<FakeUpstreams>>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let command = fake.record(&uri, &headers, &body);
    match &command {
        Some(Command::Fail(status)) => {
            return StatusCode::from_u16(*status).unwrap().into_response();
        }
        Some(Command::Refuse(problem)) => return refused(problem),
        Some(Command::Swallow) => std::future::pending().await,
        _ => {}
    }
    let done = fake.effect(headers["idempotency-key"].to_str().unwrap(), uri.path());
    match command {
        Some(Command::Vanish) => std::future::pending().await,
        Some(Command::Hold) => fake.held.acquire().await.unwrap().forget(),
        Some(Command::Drift) => return Json(json!({"reservation": 7})).into_response(),
        _ => {}
    }
    let created = uri.path().ends_with("/refunds") || uri.path().ends_with("/keys");
    (if created { StatusCode::CREATED } else { StatusCode::OK }, Json(done)).into_response()
}

fn refused(problem: &Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap();
    let body = serde_json::to_vec(problem).unwrap();
    (status, [("content-type", "application/problem+json")], body).into_response()
}

/// A service's refusal, with ids that must not reach the caller.
pub(crate) fn refusal(status: u16, name: &'static str) -> Box<Problem> {
    let problem = Problem::new(&code::OCC_CONFLICT, "The guest does not arrive today.");
    Box::new(Problem {
        status,
        code: name.into(),
        trace_id: Some("upstream".to_owned()),
        instance: "/api/v1/reservations".to_owned(),
        ..problem
    })
}

async fn read(State(fake): State<Arc<FakeUpstreams>>, OriginalUri(uri): OriginalUri) -> Response {
    match fake.record(&uri, &HeaderMap::new(), &Bytes::new()) {
        Some(Command::Fail(status)) => StatusCode::from_u16(status).unwrap().into_response(),
        Some(Command::Refuse(problem)) => refused(&problem),
        Some(Command::Vanish) => std::future::pending().await,
        Some(Command::Drift) => Json(json!({"items": 7})).into_response(),
        _ => Json(listed(&uri)).into_response(),
    }
}

fn listed(uri: &http::Uri) -> Value {
    let query = uri.query().unwrap_or_default();
    let property = |text: &str| text[text.find("ppt_").unwrap()..][..30].to_owned();
    let (of, more) = match uri.path().rsplit('/').next().unwrap() {
        "arrivals" => (query, json!({"date": "2026-11-22", "items": []})),
        "board" => (query, json!({"pendingTasksAtArrivalWindow": 3, "columns": []})),
        "shifts" => (query, json!({"timeZone": "Asia/Kabul", "date": "2026-11-22", "shifts": []})),
        _ if uri.path().starts_with("/internal/v1/properties/") => (
            uri.path(),
            json!({
            "name": "Arg", "address": "Zand 1", "city": "Shiraz", "country": "IR",
            "timeZone": "Asia/Tehran", "currency": "IRR", "locale": "fa-IR", "roomCount": 40,
            "phone": "+98 71 0000", "email": "desk@arg.test"}),
        ),
        "capacity" | "on-duty" => (query, json!({"departments": []})),
        _ => {
            let nights = json!({"timeZone": "Asia/Kabul", "from": "2026-11-22", "to": "2026-11-24",
                                "roomTypes": [], "rooms": [], "stays": [], "blocks": []});
            (uri.path(), nights)
        }
    };
    let mut response = json!({"propertyId": property(of), "asOf": "2026-11-21T12:00:00.000Z"});
    response.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    response
}

async fn device(State(fake): State<Arc<FakeUpstreams>>, Path(id): Path<String>) -> Response {
    let said = locked(&fake.locks).clone();
    match said {
        Locks::None => refused(&nothing()),
        Locks::Ill => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Locks::Refusing(problem) => refused(&problem),
        Locks::In(property) => Json(json!({
            "lockId": id, "propertyId": property, "roomId": "rom_01K0000000000000000000000A",
            "vendor": "ttlock",
        }))
        .into_response(),
    }
}

/// Returns the operation of a key.
async fn operation(State(fake): State<Arc<FakeUpstreams>>, Path(key): Path<String>) -> Response {
    if matches!(*locked(&fake.locks), Locks::Ill) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let done = locked(&fake.done).get(&key).cloned();
    let reply = |done: Value| {
        let action = if done["state"] == "active" { "issue_key" } else { "revoke_key" };
        Json(json!({
            "action": action,
            "idempotencyKey": key, "lockId": done["lockId"], "vendor": done["vendor"],
            "keyCredentialId": done["keyCredentialId"], "doneAt": "2026-11-21T12:00:00.000Z",
        }))
        .into_response()
    };
    done.map_or_else(|| refused(&nothing()), reply)
}

fn nothing() -> Problem {
    Problem::new(&code::RESOURCE_NOT_FOUND, "There is no such thing.")
}
