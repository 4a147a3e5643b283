//! The control listener: faults, effects, counts and events over HTTP, and what of the demo house a
//! person has to look up. For whoever runs the stand-ins; nothing of the platform calls it.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post, put};
use contracts::clock::Clock;
use contracts::event::CloudEvent;
use contracts::id::{EventId, PropertyId};
use contracts::problem::{Code, Problem};
use contracts::upstream::Upstream;
use contracts::upstream::lock::LockKey;
use contracts::upstream::sync::DeviceCursor;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use service_kit::extract::{Json, Query};
use service_kit::problem::ApiResult;

use crate::demo::House;
use crate::faults::{Fault, Faults};
use crate::ledger::{Effect, Ledger, RequestCount};
use crate::platform::Platform;
use crate::relay::DeadLetter;
use crate::upstreams::sync::Moved;
use crate::upstreams::{Cursors, FolioSummary, Folios, Keyring};

pub(crate) static NOT_PLAYED: Code = Code {
    name: "MELMASTOON.STAND_INS.NOT_PLAYED",
    status: 501,
    title: "The stand-in does not play this yet",
    retriable: false,
    retry_after: None,
    runbook: None,
};

/// What is steered and looked at.
#[derive(Debug, Clone)]
pub(crate) struct Control {
    pub(crate) faults: Arc<Faults>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) platform: Platform,
    pub(crate) folios: Arc<Folios>,
    pub(crate) keys: Arc<Keyring>,
    pub(crate) cursors: Arc<Cursors>,
    pub(crate) house: Arc<House>,
    pub(crate) clock: Clock,
}

#[derive(Debug, Serialize)]
struct FaultList {
    /// Upstreams that can be made to fail.
    upstreams: Vec<Upstream>,
    items: Vec<Fault>,
}

#[derive(Debug, Serialize)]
struct Items<T> {
    items: Vec<T>,
}

#[derive(Debug, Deserialize)]
struct Of {
    upstream: Option<Upstream>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfProperty {
    property_id: Option<PropertyId>,
}

#[derive(Debug, Serialize)]
struct Accepted {
    id: EventId,
}

pub(crate) fn router(control: Control) -> Router {
    Router::new()
        .route("/control/faults", put(add).delete(clear).get(list))
        .route("/control/effects", get(effects))
        .route("/control/requests", get(requests))
        .route("/control/events", post(publish))
        .route("/control/dead-letters", get(dead_letters))
        .route("/control/sync/cursors", put(move_cursor))
        .route("/demo/folios", get(folios))
        .route("/demo/keys", get(keys))
        .with_state(control)
}

async fn add(
    State(control): State<Control>,
    Json(fault): Json<Fault>,
) -> ApiResult<Json<FaultList>> {
    control.faults.add(fault).await?;
    Ok(list(State(control)).await)
}

async fn clear(State(control): State<Control>) -> StatusCode {
    control.faults.clear().await;
    StatusCode::NO_CONTENT
}

async fn list(State(control): State<Control>) -> Json<FaultList> {
    Json(FaultList { upstreams: control.faults.upstreams(), items: control.faults.list() })
}

async fn effects(State(control): State<Control>, Query(of): Query<Of>) -> Json<Items<Effect>> {
    Json(Items { items: control.ledger.effects(of.upstream) })
}

async fn requests(
    State(control): State<Control>,
    Query(of): Query<Of>,
) -> Json<Items<RequestCount>> {
    Json(Items { items: control.ledger.requests(of.upstream) })
}

/// Makes the event true and tells its consumers. Answers before they have it.
async fn publish(
    State(control): State<Control>,
    Json(event): Json<CloudEvent>,
) -> ApiResult<(StatusCode, Json<Accepted>)> {
    let well_formed = event.specversion == "1.0"
        && event.datacontenttype == "application/json"
        && event.kind.starts_with("melmastoon.")
        && event.orderingkey == format!("{}:{}", event.tenantid, event.subject);
    if !well_formed {
        let detail = "The event breaks the platform's CloudEvents profile: specversion 1.0, \
            application/json, a melmastoon type, orderingkey <tenantid>:<subject>.";
        return Err(Problem::field("body", "INVALID", detail).into());
    }
    let id = event.id;
    control.platform.publish(event)?;
    Ok((StatusCode::ACCEPTED, Json(Accepted { id })))
}

/// Events that were delivered ten times in vain.
async fn dead_letters(State(control): State<Control>) -> Json<Items<DeadLetter>> {
    Json(Items { items: control.platform.relay.dead_letters() })
}

async fn folios(
    State(control): State<Control>,
    Query(of): Query<OfProperty>,
) -> Json<Items<FolioSummary>> {
    Json(Items { items: control.folios.list(of.property_id) })
}

async fn keys(
    State(control): State<Control>,
    Query(of): Query<OfProperty>,
) -> Json<Items<LockKey>> {
    Json(Items { items: control.keys.list(of.property_id, control.clock.now()) })
}

/// sync then says that a desktop stands there, whatever others noted.
async fn move_cursor(
    State(control): State<Control>,
    Json(moved): Json<Moved>,
) -> ApiResult<Json<DeviceCursor>> {
    Ok(Json(control.cursors.put(moved, &control.house, control.clock.now())?))
}
