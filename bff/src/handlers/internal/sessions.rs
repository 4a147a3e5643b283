//! `POST /internal/sessions/revoke`: ends a session, or all of a device, an operator or a tenant.
//!
//! Internal listener only, behind its check of service accounts.

use axum::Extension;
use axum::extract::State;
use contracts::env::Env;
use contracts::id::TenantId;
use contracts::text::Reason;
use jiff::Timestamp;
use metrics::counter;
use serde::{Deserialize, Serialize};
use service_kit::extract::Json;
use service_kit::postgres::Database;
use service_kit::problem::{ApiError, ApiResult};
use service_kit::request::RequestContext;

use crate::problems::unavailable;
use crate::sessions::revocation::store::NewRevocation;
use crate::sessions::revocation::{Feed, Target, TargetError};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RevokeRequest {
    tenant_id: TenantId,
    /// `session`, `device`, `operator` or `tenant`.
    kind: String,
    id: String,
    /// Shown to the operator whose session ends.
    reason: Reason,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Revoked {
    /// Tokens issued up to this instant are void.
    #[serde(with = "contracts::clock::wire")]
    revoked_at: Timestamp,
    /// Whether a request with the same id was executed before.
    repeated: bool,
}

/// Responds once the revocation is durable. A repeat with the same `X-Request-Id` changes nothing.
pub(crate) async fn revoke(
    State(feed): State<Feed>,
    State(database): State<Database>,
    State(env): State<Env>,
    Extension(context): Extension<RequestContext>,
    Json(request): Json<RevokeRequest>,
) -> ApiResult<Json<Revoked>> {
    let revoked_at = env.now();
    let target = target("body", request.tenant_id, &request.kind, &request.id)?;
    let revocation = NewRevocation {
        tenant: request.tenant_id,
        target,
        revoked_at,
        reason: request.reason,
        cause: context.id.to_string(),
    };
    let is_new = feed.revoke(&database, &revocation).await.map_err(unavailable)?;
    counter!("bff_backoffice_revocation_total", "kind" => target.kind()).increment(is_new.into());
    Ok(Json(Revoked { revoked_at, repeated: !is_new }))
}

/// Parses the target; a tenant must be the requesting one. `root` is the path of `kind` and `id` in
/// the request.
pub(crate) fn target(root: &str, tenant: TenantId, kind: &str, id: &str) -> ApiResult<Target> {
    let wrong = |name, code, detail| ApiError::field(&format!("{root}.{name}"), code, detail);
    let target = Target::parse(kind, id).map_err(|error| match error {
        TargetError::Kind => wrong("kind", "UNKNOWN", "Send session, device, operator or tenant."),
        TargetError::Id(_) => wrong("id", "INVALID", "Send an id of that kind."),
    })?;
    if matches!(target, Target::Tenant(id) if id != tenant) {
        return Err(wrong("id", "INVALID", "A tenant is revoked under its own id."));
    }
    Ok(target)
}
