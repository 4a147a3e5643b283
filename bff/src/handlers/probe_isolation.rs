//! `POST /internal/jobs/probe-tenant-isolation`: see [`crate::isolation_probe`].
//!
//! On the internal listener alone, for the scheduler. Safe to ask for twice and at once.

use axum::extract::State;
use serde::Serialize;
use service_kit::extract::Json;
use service_kit::problem::ApiResult;

use crate::isolation_probe::{Finding, Outcome, run, worst};
use crate::state::Gateway;
use crate::store::unavailable;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Probed {
    /// False when another instance is at it.
    ran: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stores: Vec<Finding>,
}

/// A leak is an answer too: the alert hears of it through the metric.
pub async fn probe(State(gateway): State<Gateway>) -> ApiResult<Json<Probed>> {
    let findings = run(&gateway).await.map_err(unavailable)?;
    let outcome = findings.as_deref().map(worst);
    Ok(Json(Probed { ran: findings.is_some(), outcome, stores: findings.unwrap_or_default() }))
}
