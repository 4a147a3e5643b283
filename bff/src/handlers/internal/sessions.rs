//! `POST /internal/sessions/revoke`: ends a session, or all of a device, an operator or a tenant.
//!
//! Internal listener only, behind its check of service accounts.

use axum::Extension;
use axum::extract::State;
use contracts::clock::wire;
use contracts::env::Env;
use contracts::id::TenantId;
use contracts::problem::Problem;
use contracts::rules::violation;
use contracts::text::Reason;
use garde::{Path, Report, Validate};
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
    revoked_at: wire::Timestamp,
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
    let target = request.target().map_err(|error| target_problem("body", error))?;
    let revocation = NewRevocation {
        tenant: request.tenant_id,
        target,
        revoked_at,
        reason: request.reason,
        cause: context.id.to_string(),
    };
    let is_new = feed.revoke(&database, &revocation).await.map_err(unavailable)?;
    counter!("bff_backoffice_revocation_total", "kind" => target.kind()).increment(is_new.into());
    Ok(Json(Revoked { revoked_at: revoked_at.into(), repeated: !is_new }))
}

impl RevokeRequest {
    fn target(&self) -> Result<Target, TargetError> {
        Target::parse(self.tenant_id, &self.kind, &self.id)
    }
}

/// A blank reason is accepted: nothing about a reason prevents a revocation.
impl Validate for RevokeRequest {
    type Context = ();

    fn validate_into(&self, (): &(), path: &mut dyn FnMut() -> Path, report: &mut Report) {
        if let Err(error) = self.target() {
            let (member, code) = error.member();
            report.append(path().join(member), violation(code, error));
        }
    }
}

/// The problem for an invalid target; `root` is the path of `kind` and `id` in the request.
pub(crate) fn target_problem(root: &str, error: TargetError) -> ApiError {
    let (member, code) = error.member();
    Problem::field(format!("{root}.{member}"), code.code(), error.to_string()).into()
}
