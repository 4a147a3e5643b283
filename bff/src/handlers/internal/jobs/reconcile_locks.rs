//! `POST /internal/jobs/reconcile-locks` and `/internal/jobs/verify-lock-audit`: see
//! [`crate::locks::reconcile`] and [`crate::locks::verify_chain`].
//!
//! On the internal listener alone, for the scheduler. Safe to ask for twice and at once.

use axum::extract::State;
use serde::Serialize;
use service_kit::extract::Json;
use service_kit::problem::ApiResult;

use crate::edge::proof_only::ServiceCalls;
use crate::locks::reconcile::{self, Reconciled};
use crate::locks::verify_chain::{self, Verdict};
use crate::problems::unavailable;
use crate::state::Gateway;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ran {
    /// False when another instance is at it.
    ran: bool,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    done: Option<Reconciled>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verified {
    chains: usize,
    rows: i64,
    /// Each with the first row that is not as it was written.
    broken: Vec<Verdict>,
}

pub async fn reconcile(
    State(gateway): State<Gateway>,
    calls: ServiceCalls,
) -> ApiResult<Json<Ran>> {
    let done = reconcile::run(&gateway, &calls).await.map_err(unavailable)?;
    Ok(Json(Ran { ran: done.is_some(), done }))
}

/// A broken chain is an answer too: the alert hears of it through the metric.
pub async fn verify(State(gateway): State<Gateway>) -> ApiResult<Json<Verified>> {
    let verdicts = verify_chain::verify_all(&gateway.database).await.map_err(unavailable)?;
    let (chains, rows) = (verdicts.len(), verdicts.iter().map(|it| it.whole).sum());
    let broken = verdicts.into_iter().filter(|it| it.broken.is_some()).collect();
    Ok(Json(Verified { chains, rows, broken }))
}
