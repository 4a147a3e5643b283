//! Upstreams that a test commands: one axum server on a socket, which deduplicates by key as the
//! platform's services do, and counts what it did.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use axum::extract::{OriginalUri, State};
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

/// How a call is answered; once the commands are used up, properly.
#[derive(Debug, Clone)]
pub(crate) enum Command {
    /// Does nothing and answers this status without a body.
    Fail(u16),
    /// Does nothing and answers this problem.
    Refuse(Box<Problem>),
    /// Does it, and never answers.
    Vanish,
    /// Does it, and answers what its contract does not say.
    Drift,
    /// Does it, and answers when the test lets it.
    Hold,
}

/// One call as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) target: String,
    pub(crate) key: Option<String>,
    pub(crate) body: Value,
}

#[derive(Debug)]
pub(crate) struct Platform {
    commands: Mutex<VecDeque<Command>>,
    seen: Mutex<Vec<Seen>>,
    /// Answer by key: its length is the number of effects.
    done: Mutex<BTreeMap<String, Value>>,
    calls: Semaphore,
    held: Semaphore,
}

impl Platform {
    pub(crate) async fn open() -> (Arc<Self>, BaseUrls) {
        let platform = Arc::new(Self {
            commands: Mutex::default(),
            seen: Mutex::default(),
            done: Mutex::default(),
            calls: Semaphore::new(0),
            held: Semaphore::new(0),
        });
        let app = Router::new()
            .route("/api/v1/reservations/{id}/check-in", post(change))
            .route("/api/v1/folios/{id}/refunds", post(change))
            .route("/api/v1/reservations/arrivals", get(read))
            .route("/api/v1/inventory/properties/{id}/availability", get(read))
            .with_state(Arc::clone(&platform));
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let url: url::Url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        serve(listener, Plain, app, &Lifecycle::new());
        let asked = [Upstream::Reservation, Upstream::Billing, Upstream::Inventory];
        (platform, asked.map(|upstream| (upstream, url.clone())).into())
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

    /// Returns once another call has come in.
    pub(crate) async fn called(&self) {
        self.calls.acquire().await.unwrap().forget();
    }

    /// Lets one held call be answered.
    pub(crate) fn release(&self) {
        self.held.add_permits(1);
    }

    fn note(&self, target: &http::Uri, headers: &HeaderMap, body: &Bytes) -> Option<Command> {
        let key = headers.get("idempotency-key").map(|key| key.to_str().unwrap().to_owned());
        let body = serde_json::from_slice(body).unwrap_or(Value::Null);
        locked(&self.seen).push(Seen { target: target.to_string(), key, body });
        self.calls.add_permits(1);
        locked(&self.commands).pop_front()
    }

    /// What the key did, now or before.
    fn effect(&self, key: &str, path: &str) -> Value {
        let mut done = locked(&self.done);
        let number = done.len() + 1;
        done.entry(key.to_owned()).or_insert_with(|| answer(path, number)).clone()
    }
}

fn locked<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer(path: &str, number: usize) -> Value {
    let id = path.split('/').nth(4).unwrap();
    if path.ends_with("/refunds") {
        let amount = json!({"amountMicro": "1000000", "currency": "AFN"});
        return json!({"refundId": format!("refund-{number}"), "folioId": id, "amount": amount,
                      "refundedAt": "2026-11-21T12:00:00.000Z"});
    }
    json!({"reservationId": id, "state": "in_house", "roomId": "rom_01K0000000000000000000000A",
           "checkedInAt": "2026-11-21T12:00:00.000Z", "effect": number})
}

async fn change(
    State(platform): State<Arc<Platform>>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let command = platform.note(&uri, &headers, &body);
    match &command {
        Some(Command::Fail(status)) => {
            return StatusCode::from_u16(*status).unwrap().into_response();
        }
        Some(Command::Refuse(problem)) => return refused(problem),
        _ => {}
    }
    let done = platform.effect(headers["idempotency-key"].to_str().unwrap(), uri.path());
    match command {
        Some(Command::Vanish) => std::future::pending().await,
        Some(Command::Hold) => platform.held.acquire().await.unwrap().forget(),
        Some(Command::Drift) => return Json(json!({"reservation": 7})).into_response(),
        _ => {}
    }
    let created = uri.path().ends_with("/refunds");
    (if created { StatusCode::CREATED } else { StatusCode::OK }, Json(done)).into_response()
}

fn refused(problem: &Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap();
    let body = serde_json::to_vec(problem).unwrap();
    (status, [("content-type", "application/problem+json")], body).into_response()
}

/// What a service says of its own: with its ids, which must not reach the caller.
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

async fn read(State(platform): State<Arc<Platform>>, OriginalUri(uri): OriginalUri) -> Response {
    match platform.note(&uri, &HeaderMap::new(), &Bytes::new()) {
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
    if uri.path().ends_with("/arrivals") {
        return json!({"propertyId": property(query), "date": "2026-11-22",
                      "asOf": "2026-11-21T12:00:00.000Z", "items": []});
    }
    json!({"propertyId": property(uri.path()), "timeZone": "Asia/Kabul",
           "asOf": "2026-11-21T12:00:00.000Z", "from": "2026-11-22", "to": "2026-11-24",
           "roomTypes": []})
}
