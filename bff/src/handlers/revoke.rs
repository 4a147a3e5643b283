//! `POST /internal/sessions/revoke`: ends a session, or all of a device, an operator or a tenant.
//!
//! On the internal listener alone, behind its check of service identities.

use axum::Extension;
use axum::extract::State;
use contracts::clock::Clock;
use contracts::id::TenantId;
use contracts::problem::Problem;
use jiff::Timestamp;
use metrics::counter;
use serde::{Deserialize, Serialize};
use service_kit::extract::Json;
use service_kit::postgres::Database;
use service_kit::problem::{ApiError, ApiResult};
use service_kit::request::RequestContext;

use crate::revocation::store::Order;
use crate::revocation::{Feed, Target, TargetError};
use crate::store::unavailable;

/// Characters a reason may have.
const LONGEST_REASON: usize = 200;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RevokeRequest {
    tenant_id: TenantId,
    /// `session`, `device`, `operator` or `tenant`.
    kind: String,
    id: String,
    /// Shown to the person whose session ends.
    reason: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Revoked {
    /// Tokens issued up to here are void.
    #[serde(with = "contracts::clock::wire")]
    revoked_at: Timestamp,
    /// The same order (by its request id) had been carried out before.
    repeated: bool,
}

/// Answers once the order is durable. A repeat with the same `X-Request-Id` changes nothing.
pub async fn revoke(
    State(feed): State<Feed>,
    State(database): State<Database>,
    State(clock): State<Clock>,
    Extension(context): Extension<RequestContext>,
    Json(request): Json<RevokeRequest>,
) -> ApiResult<Json<Revoked>> {
    let revoked_at = clock.now();
    let target = target(request.tenant_id, &request.kind, &request.id)?;
    let order = Order {
        tenant: request.tenant_id,
        target,
        revoked_at,
        reason: reason(request.reason)?,
        cause: context.id.to_string(),
    };
    let is_new = feed.revoke(&database, &order).await.map_err(unavailable)?;
    counter!("bff_backoffice_revocation_total", "kind" => target.kind()).increment(is_new.into());
    Ok(Json(Revoked { revoked_at, repeated: !is_new }))
}

/// The target, if it is one and, when a tenant, the tenant that orders.
pub(crate) fn target(tenant: TenantId, kind: &str, id: &str) -> Result<Target, ApiError> {
    let target = Target::parse(kind, id).map_err(|error| match error {
        TargetError::Kind => {
            ApiError::field("body.kind", "UNKNOWN", "kind is session, device, operator or tenant.")
        }
        TargetError::Id(_) => ApiError::field("body.id", "INVALID", "Send an id of that kind."),
    })?;
    if matches!(target, Target::Tenant(id) if id != tenant) {
        return Err(ApiError::field("body.id", "INVALID", "A tenant is revoked under its own id."));
    }
    Ok(target)
}

pub(crate) fn reason(given: String) -> Result<String, ApiError> {
    let length = given.chars().count();
    if (1..=LONGEST_REASON).contains(&length) {
        return Ok(given);
    }
    Err(Problem::field("body.reason", "INVALID", "Give a reason of 1 to 200 characters.").into())
}
