//! `POST /internal/jobs/reconcile-locks` and `/internal/jobs/verify-lock-audit`: see
//! [`crate::locks::reconcile`] and [`crate::locks::verify_chain`].
//!
//! Internal listener only, for the scheduler. Safe to run twice and concurrently.

use axum::extract::State;
use serde::Serialize;
use service_kit::extract::Json;
use service_kit::problem::ApiResult;

use crate::edge::proof_only::ServiceCalls;
use crate::locks::reconcile::{self, Reconciled};
use crate::locks::verify_chain::{self, ChainReport};
use crate::problems::unavailable;
use crate::state::Gateway;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ran {
    /// False while another instance runs it.
    ran: bool,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    done: Option<Reconciled>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verified {
    chains: usize,
    rows: i64,
    /// Each with its first fault.
    broken: Vec<ChainReport>,
}

pub async fn reconcile(
    State(gateway): State<Gateway>,
    calls: ServiceCalls,
) -> ApiResult<Json<Ran>> {
    let done = reconcile::run(&gateway, &calls).await.map_err(unavailable)?;
    Ok(Json(Ran { ran: done.is_some(), done }))
}

/// A broken chain is a response like any other; the alert fires on the metric.
pub async fn verify(State(gateway): State<Gateway>) -> ApiResult<Json<Verified>> {
    let reports = verify_chain::verify_all(&gateway.database).await.map_err(unavailable)?;
    let (chains, rows) = (reports.len(), reports.iter().map(|report| report.intact_rows).sum());
    let broken = reports.into_iter().filter(|report| report.first_fault.is_some()).collect();
    Ok(Json(Verified { chains, rows, broken }))
}
