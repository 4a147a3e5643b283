//! The control listener: sets faults, publishes events, and lists effects, request counts and demo
//! data. For people, tests and drills; the platform does not call it.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post, put};
use contracts::event::CloudEvent;
use contracts::id::PropertyId;
use contracts::problem::code;
use contracts::rules::invalid;
use contracts::upstream::Upstream;
use contracts::upstream::lock::LockKey;
use contracts::upstream::sync::DeviceCursor;
use contracts::upstream::tenant::{TENANT_REACTIVATED, TENANT_SUSPENDED};
use garde::{Path, Report, Validate};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use service_kit::extract::{Json, Query};
use service_kit::problem::{ApiError, ApiResult};

use crate::effects::{Effect, RequestCount};
use crate::event_dispatcher::{DeadLetter, EventDispatcher};
use crate::event_effects;
use crate::faults::{Fault, Faults};
use crate::iam::Iam;
use crate::upstreams::sync::MoveCursor;
use crate::upstreams::{FolioSummary, Platform};

/// Router state.
#[derive(Debug, Clone)]
pub(crate) struct Control {
    pub(crate) faults: Arc<Faults>,
    pub(crate) platform: Arc<Platform>,
    pub(crate) iam: Arc<Iam>,
    pub(crate) dispatcher: Arc<EventDispatcher>,
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

async fn add(State(control): State<Control>, Json(fault): Json<Fault>) -> ApiResult<Json<Value>> {
    control.faults.add(fault).await?;
    Ok(list(State(control)).await)
}

async fn clear(State(control): State<Control>) -> StatusCode {
    control.faults.clear().await;
    StatusCode::NO_CONTENT
}

/// The faults, and the upstreams that have a stand-in.
async fn list(State(control): State<Control>) -> Json<Value> {
    Json(json!({"upstreams": control.faults.upstreams(), "items": control.faults.list()}))
}

async fn effects(
    State(control): State<Control>,
    Query(query): Query<UpstreamQuery>,
) -> Json<Items<Effect>> {
    Json(Items { items: control.platform.effects.effects(query.upstream) })
}

async fn requests(
    State(control): State<Control>,
    Query(query): Query<UpstreamQuery>,
) -> Json<Items<RequestCount>> {
    Json(Items { items: control.platform.effects.requests(query.upstream) })
}

/// Applies the event and queues it for its subscribers. Responds before they receive it.
async fn publish(
    State(control): State<Control>,
    Json(Publication(event)): Json<Publication>,
) -> ApiResult<(StatusCode, Json<Value>)> {
    let id = event.id;
    event_effects::apply(&event, &control.iam, &control.platform)?;
    control
        .dispatcher
        .publish(event)
        .map_err(|_| ApiError::new(&code::UNAVAILABLE, "Too many events are queued. Try again."))?;
    Ok((StatusCode::ACCEPTED, Json(json!({"id": id}))))
}

/// Events whose ten deliveries failed.
async fn dead_letters(State(control): State<Control>) -> Json<Items<DeadLetter>> {
    Json(Items { items: control.dispatcher.dead_letters() })
}

async fn folios(
    State(control): State<Control>,
    Query(query): Query<PropertyQuery>,
) -> Json<Items<FolioSummary>> {
    Json(Items { items: control.platform.folios.list(query.property_id) })
}

async fn keys(
    State(control): State<Control>,
    Query(query): Query<PropertyQuery>,
) -> Json<Items<LockKey>> {
    let platform = &control.platform;
    Json(Items { items: platform.keys.list(query.property_id, platform.env.now()) })
}

/// Moves a cursor in sync, so that cached copies of it become stale.
async fn move_cursor(
    State(control): State<Control>,
    Json(moved): Json<MoveCursor>,
) -> ApiResult<Json<DeviceCursor>> {
    Ok(Json(control.platform.move_cursor(moved)?))
}
