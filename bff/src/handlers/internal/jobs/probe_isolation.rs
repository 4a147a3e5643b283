//! `POST /internal/jobs/probe-tenant-isolation`: see [`crate::admin::isolation_probe`].
//!
//! Internal listener only, for the scheduler. Safe to run twice and concurrently.

use axum::extract::{FromRef, State};
use serde::Serialize;
use service_kit::extract::Json;
use service_kit::problem::ApiResult;

use crate::admin::isolation_probe::{Finding, IsolationProbe, Outcome, worst};
use crate::problems::unavailable;
use crate::state::Gateway;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Probed {
    /// False while another instance is probing.
    ran: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stores: Vec<Finding>,
}

/// A leak is a response like any other; the alert fires on the metric.
pub async fn probe(State(probe): State<IsolationProbe>) -> ApiResult<Json<Probed>> {
    let findings = probe.run().await.map_err(unavailable)?;
    let outcome = findings.as_deref().map(worst);
    Ok(Json(Probed { ran: findings.is_some(), outcome, stores: findings.unwrap_or_default() }))
}

impl FromRef<Gateway> for IsolationProbe {
    fn from_ref(gateway: &Gateway) -> Self {
        Self {
            database: gateway.database.clone(),
            session_redis: gateway.session_redis.clone(),
            profiles: gateway.profiles.clone(),
            env: gateway.env.clone(),
        }
    }
}
