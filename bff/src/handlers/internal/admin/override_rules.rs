//! `/internal/admin/edge-rules`: emergency override of the firewall rules, approved by a second
//! platform operator.
//!
//! Internal listener only, behind its check of service accounts.

use auth::oidc::ServiceAccount;
use axum::Extension;
use axum::extract::State;
use contracts::id::RequestId;
use contracts::rules::{invalid, not_blank};
use contracts::text::Reason;
use garde::Validate;
use http::StatusCode;
use serde::Deserialize;
use service_kit::extract::{Json, Path};
use service_kit::problem::ApiResult;
use service_kit::request::RequestContext;

use super::PendingApproval;
use crate::firewall::rule_override::{self, RuleOverrides, RulesInForce};

#[derive(Debug, Deserialize, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct OverrideRequest {
    /// TOML (see `ops/edge-rules.toml`); empty restores the file.
    #[garde(custom(valid_rules))]
    rules: String,
    /// For the audit.
    #[garde(custom(not_blank))]
    reason: Reason,
}

fn valid_rules(rules: &str, _: &()) -> garde::Result {
    rule_override::validate(rules).map_err(invalid)
}

/// Requests the change. Its id is the `X-Request-Id`.
pub(crate) async fn request(
    State(overrides): State<RuleOverrides>,
    Extension(account): Extension<ServiceAccount>,
    Extension(context): Extension<RequestContext>,
    Json(body): Json<OverrideRequest>,
) -> ApiResult<(StatusCode, Json<PendingApproval>)> {
    let request = overrides.request(context.id, account, body.rules, body.reason).await?;
    Ok(PendingApproval::accepted(request))
}

/// Approves a request.
pub(crate) async fn approve(
    State(overrides): State<RuleOverrides>,
    Extension(account): Extension<ServiceAccount>,
    Path(id): Path<RequestId>,
) -> ApiResult<Json<RulesInForce>> {
    overrides.approve(id, &account).await?;
    Ok(get_rules(State(overrides)).await)
}

/// Returns the active rules and their source.
pub(crate) async fn get_rules(State(overrides): State<RuleOverrides>) -> Json<RulesInForce> {
    Json(overrides.in_force())
}
