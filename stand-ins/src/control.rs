//! The control listener: sets faults, publishes events, and lists effects, request counts and demo
//! data. For people, tests and drills; the platform does not call it.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post, put};
use contracts::clock::Clock;
use contracts::event::CloudEvent;
use contracts::id::{EventId, PropertyId};
use contracts::rules::invalid;
use contracts::upstream::Upstream;
use contracts::upstream::lock::LockKey;
use contracts::upstream::sync::DeviceCursor;
use contracts::upstream::tenant::{TENANT_REACTIVATED, TENANT_SUSPENDED};
use garde::{Path, Report, Validate};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use service_kit::extract::{Json, Query};
use service_kit::problem::ApiResult;

use crate::demo::DemoData;
use crate::effects::{Effect, Effects, RequestCount};
use crate::event_dispatcher::DeadLetter;
use crate::event_effects::EventEffects;
use crate::faults::{Fault, Faults};
use crate::upstreams::sync::MoveCursor;
use crate::upstreams::{Cursors, FolioSummary, Folios, Keyring};

/// Router state.
#[derive(Debug, Clone)]
pub(crate) struct Control {
    pub(crate) faults: Arc<Faults>,
    pub(crate) effects: Arc<Effects>,
    pub(crate) event_effects: EventEffects,
    pub(crate) folios: Arc<Folios>,
    pub(crate) keys: Arc<Keyring>,
    pub(crate) cursors: Arc<Cursors>,
    pub(crate) demo: Arc<DemoData>,
    pub(crate) clock: Clock,
}

#[derive(Debug, Serialize)]
struct FaultList {
    /// Upstreams that have a stand-in.
    upstreams: Vec<Upstream>,
    items: Vec<Fault>,
}

#[derive(Debug, Serialize)]
struct Items<T> {
    items: Vec<T>,
}

#[derive(Debug, Deserialize)]
struct UpstreamQuery {
    upstream: Option<Upstream>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PropertyQuery {
    property_id: Option<PropertyId>,
}

/// An event to publish.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct Publication(CloudEvent);

impl Validate for Publication {
    type Context = ();

    fn validate_into(&self, (): &(), path: &mut dyn FnMut() -> Path, report: &mut Report) {
        let Self(event) = self;
        let well_formed = event.specversion == "1.0"
            && event.datacontenttype == "application/json"
            && event.kind.starts_with("melmastoon.")
            && event.orderingkey == format!("{}:{}", event.tenantid, event.subject);
        if !well_formed {
            let detail = "The event breaks the platform's CloudEvents profile: specversion 1.0, \
                application/json, a melmastoon type, orderingkey <tenantid>:<subject>.";
            report.append(path(), invalid(detail));
        }
        let is_of_tenant = [TENANT_SUSPENDED, TENANT_REACTIVATED].contains(&event.kind.as_str());
        if is_of_tenant && event.subject != event.tenantid.as_str() {
            let detail = "The subject of this event must be the tenant.";
            report.append(path().join("subject"), invalid(detail));
        }
    }
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

async fn effects(
    State(control): State<Control>,
    Query(query): Query<UpstreamQuery>,
) -> Json<Items<Effect>> {
    Json(Items { items: control.effects.effects(query.upstream) })
}

async fn requests(
    State(control): State<Control>,
    Query(query): Query<UpstreamQuery>,
) -> Json<Items<RequestCount>> {
    Json(Items { items: control.effects.requests(query.upstream) })
}

/// Applies the event and queues it for its subscribers. Responds before they receive it.
async fn publish(
    State(control): State<Control>,
    Json(Publication(event)): Json<Publication>,
) -> ApiResult<(StatusCode, Json<Accepted>)> {
    let id = event.id;
    control.event_effects.publish(event)?;
    Ok((StatusCode::ACCEPTED, Json(Accepted { id })))
}

/// Events whose ten deliveries failed.
async fn dead_letters(State(control): State<Control>) -> Json<Items<DeadLetter>> {
    Json(Items { items: control.event_effects.dispatcher.dead_letters() })
}

async fn folios(
    State(control): State<Control>,
    Query(query): Query<PropertyQuery>,
) -> Json<Items<FolioSummary>> {
    Json(Items { items: control.folios.list(query.property_id) })
}

async fn keys(
    State(control): State<Control>,
    Query(query): Query<PropertyQuery>,
) -> Json<Items<LockKey>> {
    Json(Items { items: control.keys.list(query.property_id, control.clock.now()) })
}

/// Moves a cursor in sync, so that cached copies of it become stale.
async fn move_cursor(
    State(control): State<Control>,
    Json(moved): Json<MoveCursor>,
) -> ApiResult<Json<DeviceCursor>> {
    Ok(Json(control.cursors.put(moved, &control.demo, control.clock.now())?))
}
