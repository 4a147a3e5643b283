//! The control listener: faults, effects and counts over HTTP. For whoever runs the stand-ins;
//! nothing of the platform calls it.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::{get, put};
use contracts::event::CloudEvent;
use contracts::problem::{Code, Problem};
use contracts::upstream::Upstream;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use service_kit::extract::{Json, Query};
use service_kit::problem::{ApiError, ApiResult};

use crate::faults::{Fault, Faults};
use crate::ledger::{Effect, Ledger, RequestCount};

pub(crate) static NOT_PLAYED: Code = Code {
    name: "MELMASTOON.STAND_INS.NOT_PLAYED",
    status: 501,
    title: "The stand-in does not play this yet",
    retriable: false,
    retry_after: None,
    runbook: None,
};

#[derive(Debug, Clone)]
struct Control {
    faults: Arc<Faults>,
    ledger: Arc<Ledger>,
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

pub(crate) fn router(faults: Arc<Faults>, ledger: Arc<Ledger>) -> Router {
    Router::new()
        .route("/control/faults", put(add).delete(clear).get(list))
        .route("/control/effects", get(effects))
        .route("/control/requests", get(requests))
        .route("/control/events", axum::routing::post(publish))
        .with_state(Control { faults, ledger })
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

/// Checks the event. There is no stream to publish it to yet, and it says so.
async fn publish(Json(event): Json<CloudEvent>) -> ApiError {
    let well_formed = event.specversion == "1.0"
        && event.datacontenttype == "application/json"
        && event.kind.starts_with("melmastoon.")
        && event.orderingkey == format!("{}:{}", event.tenantid, event.subject);
    if !well_formed {
        let detail = "The event breaks the platform's CloudEvents profile: specversion 1.0, \
            application/json, a melmastoon type, orderingkey <tenantid>:<subject>.";
        return Problem::field("body", "INVALID", detail).into();
    }
    ApiError::new(&NOT_PLAYED, "The event is well formed, but there is no event stream yet.")
}
