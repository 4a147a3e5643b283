//! `POST /internal/jobs/reconcile-cursors`: see [`crate::sync::cursors::reconcile`].
//!
//! Internal listener only, for the scheduler. Safe to run twice and concurrently.

use axum::extract::State;
use serde::Serialize;
use service_kit::extract::Json;
use service_kit::problem::ApiResult;

use crate::edge::proof_only::ServiceCalls;
use crate::problems::unavailable;
use crate::state::Gateway;
use crate::sync::cursors::reconcile::{self, Compared};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ran {
    /// False while another instance runs it.
    ran: bool,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    done: Option<Compared>,
}

pub async fn reconcile(
    State(gateway): State<Gateway>,
    calls: ServiceCalls,
) -> ApiResult<Json<Ran>> {
    let done = reconcile::run(&gateway, &calls).await.map_err(unavailable)?;
    Ok(Json(Ran { ran: done.is_some(), done }))
}
