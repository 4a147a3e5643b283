//! Fake upstreams for reads, which a test makes fail, on a clock that the test moves.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{OriginalUri, State};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use contracts::clock::Clock;
use contracts::upstream::Upstream;
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use service_kit::lifecycle::Lifecycle;
use service_kit::serve::{Plain, bind, serve};

use crate::tests::call::TestCall;
use crate::tests::fixture::BASE;
use crate::tests::test_gateway::{TestGateway, TestOptions, patient};

pub(crate) const AS_OF: &str = "2026-11-21T08:00:00.000Z";
/// Start time of a test: no time zone's day begins within the next minutes.
const START: &str = "2026-11-21T08:00:30Z";
const ROOM: &str = "rom_01K0000000000000000000000A";
const STAY: &str = "rsv_01K0000000000000000000000A";

/// A gateway and its fake upstreams.
pub(crate) struct ReadFixture {
    pub(crate) gateway: TestGateway,
    script: Arc<Script>,
    /// Seconds by which the clock is ahead.
    ahead: Arc<AtomicI64>,
}

#[derive(Debug, Default)]
struct Script {
    /// Paths with this prefix respond with this status.
    away: Mutex<BTreeMap<&'static str, u16>>,
    seen: Mutex<Vec<String>>,
    /// Ids removed from every list.
    gone: Mutex<Vec<String>>,
}

impl ReadFixture {
    pub(crate) async fn open() -> Self {
        let script = Arc::new(Script::default());
        let app = Router::new().fallback(read).with_state(Arc::clone(&script));
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let url: url::Url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        serve(listener, Plain, app, &Lifecycle::new());
        let played = Upstream::all().filter(|upstream| *upstream != Upstream::Tenant);
        let upstreams = played.map(|upstream| (upstream, url.clone())).collect();
        let ahead = Arc::new(AtomicI64::new(0));
        let (system, seconds) = (Clock::system(), Arc::clone(&ahead));
        let (opened, start) = (system.now(), START.parse::<Timestamp>().unwrap());
        let clock = Clock::from_fn(move || {
            let passed = SignedDuration::from_secs(seconds.load(Ordering::SeqCst));
            start + system.now().duration_since(opened) + passed
        });
        let limits = patient;
        let options = TestOptions { upstreams, limits, clock, ..TestOptions::usual() };
        Self { gateway: TestGateway::build(options).await, script, ahead }
    }

    pub(crate) fn pass(&self, seconds: i64) {
        self.ahead.fetch_add(seconds, Ordering::SeqCst);
    }

    /// Makes paths with this prefix respond with this status.
    pub(crate) fn is_away(&self, path: &'static str, status: u16) {
        locked(&self.script.away).insert(path, status);
    }

    /// Removes this id from every list.
    pub(crate) fn is_gone(&self, id: &str) {
        locked(&self.script.gone).push(id.to_owned());
    }

    /// Number of requests to paths with this prefix.
    pub(crate) fn requests(&self, path: &str) -> usize {
        locked(&self.script.seen).iter().filter(|seen| seen.starts_with(path)).count()
    }

    /// A manager's read at the gateway's property.
    pub(crate) fn get(&self, route: &str) -> TestCall<'_> {
        let path = if route.starts_with("/folios/") {
            format!("{BASE}{route}")
        } else {
            let joint = if route.contains('?') { '&' } else { '?' };
            format!("{BASE}{route}{joint}propertyId={}", self.gateway.property)
        };
        self.gateway.get(path).role("front_desk.manager")
    }
}

fn locked<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn read(State(script): State<Arc<Script>>, OriginalUri(uri): OriginalUri) -> Response {
    locked(&script.seen).push(uri.to_string());
    let away = locked(&script.away)
        .iter()
        .find(|(path, _)| uri.path().starts_with(**path))
        .map(|(_, status)| *status);
    match away {
        Some(status) => StatusCode::from_u16(status).unwrap().into_response(),
        None => Json(without(&locked(&script.gone), body(&uri))).into_response(),
    }
}

fn without(gone: &[String], mut body: Value) -> Value {
    let is_left = |item: &Value| {
        let id = item.as_object().and_then(|object| object.values().find_map(Value::as_str));
        !gone.iter().any(|gone| Some(gone.as_str()) == id)
    };
    for list in ["items", "shifts"] {
        if let Some(items) = body[list].as_array_mut() {
            items.retain(is_left);
        }
    }
    body
}

/// Responds for the property in the query, else for the one of the path's id: `fol_…` is a folio of
/// `ppt_…`.
fn body(uri: &http::Uri) -> Value {
    let query = uri.query().unwrap_or_default();
    let text = format!("{query}{}", uri.path().replace("fol_", "ppt_"));
    let property = text.find("ppt_").map(|at| &text[at..][..30]);
    let mut body = json!({"propertyId": property, "asOf": AS_OF});
    let stays = if query.contains("date=2026-12-24") { &["C", "A", "B"][..] } else { &["A"] };
    let more = members(uri.path(), stays);
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

/// Stays in each list, by the last letter of their ids.
fn members(path: &str, ids: &[&str]) -> Value {
    match path {
        "/api/v1/reservations/arrivals" => stays("confirmed", ids),
        "/api/v1/reservations/departures" => stays("checked_out", ids),
        "/api/v1/reservations/in-house" => stays("in_house", ids),
        "/api/v1/staff/shifts" => json!({"timeZone": "Asia/Kabul", "date": "2026-11-21",
            "shifts": three_items("shift", "shf")}),
        "/api/v1/housekeeping/rooms/status" => json!({"counts": {}, "rooms": [
            {"roomId": ROOM, "number": "101", "floor": 1, "status": "ready", "since": AS_OF}]}),
        "/api/v1/billing/balances" => json!({"items": [{
            "folioId": "fol_01K0000000000000000000000A", "reservationId": STAY, "balance": money()}]}),
        "/api/v1/locks/keys" => json!({"items": []}),
        "/api/v1/housekeeping/board" => json!({"pendingTasksAtArrivalWindow": 3, "columns": []}),
        "/api/v1/staff/capacity" | "/api/v1/staff/on-duty" => json!({"departments": []}),
        nights if nights.starts_with("/api/v1/inventory/properties/") => json!({
            "timeZone": "Asia/Kabul", "from": "2026-11-21", "to": "2026-11-23",
            "roomTypes": [], "rooms": [], "stays": [], "blocks": []}),
        "/api/v1/maintenance/board" => json!({"columns": [{"state": "open", "items": []}]}),
        "/api/v1/alerts" => json!({"items": three_items("alert", "alr")}),
        "/api/v1/ai/suggestions" => json!({"items": three_items("suggestion", "sug")}),
        folio if folio.starts_with("/api/v1/folios/") => json!({
            "folioId": &folio["/api/v1/folios/".len()..], "reservationId": STAY, "guestName": "A",
            "state": "open", "openedAt": AS_OF, "charges": [], "payments": [], "refunds": [],
            "charged": money(), "paid": money(), "refunded": money(), "balance": money()}),
        _ => json!({}),
    }
}

/// Three of a kind, in this order.
fn three_items(kind: &str, prefix: &str) -> Vec<Value> {
    let item = |last| {
        let id = format!("{prefix}_01K0000000000000000000000{last}");
        match kind {
            "alert" => json!({"alertId": id, "severity": "warning", "title": "Water",
                "body": "No pressure.", "raisedAt": AS_OF}),
            "shift" => json!({"shiftId": id, "department": "Reception", "position": "Desk",
                "startsAt": AS_OF, "endsAt": AS_OF, "status": "scheduled", "required": 1,
                "assigned": []}),
            _ => json!({"suggestionId": id, "kind": "staffing", "title": "One more",
                "rationale": "Many leave.", "confidence": 0.8, "expiresAt": AS_OF,
                "provenance": {"model": "m", "version": "1"}}),
        }
    };
    ["C", "A", "B"].map(item).into()
}

fn stays(state: &str, ids: &[&str]) -> Value {
    let stay = |last: &&str| {
        json!({
            "reservationId": STAY.replace("0A", &format!("0{last}")), "code": "GM-1", "guestName": "A",
            "roomId": ROOM, "roomNumber": "101", "checkIn": "2026-11-21", "checkOut": "2026-11-22",
            "adults": 2, "state": state, "eta": "2026-11-21T09:30:00Z"})
    };
    json!({"date": "2026-11-21", "items": ids.iter().map(stay).collect::<Vec<_>>()})
}

fn money() -> Value {
    json!({"amountMicro": "5000000", "currency": "AFN"})
}
