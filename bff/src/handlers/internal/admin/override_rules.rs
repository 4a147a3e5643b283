//! `/internal/admin/edge-rules`: emergency override of the firewall rules, approved by a second
//! platform operator.
//!
//! Internal listener only, behind its check of service accounts.

use auth::oidc::ServiceAccount;
use axum::Extension;
use axum::extract::State;
use contracts::id::RequestId;
use contracts::problem::{Problem, code};
use contracts::text::Reason;
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use service_kit::extract::{Json, Path};
use service_kit::problem::{ApiError, ApiResult};
use service_kit::request::RequestContext;

use crate::firewall::Source;
use crate::firewall::rule_override::store::RuleOverride;
use crate::firewall::rule_override::{OverrideError, RuleOverrides};
use crate::problems::unavailable;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OverrideRequest {
    /// TOML (see `ops/edge-rules.toml`); empty restores the file.
    rules: String,
    /// For the audit.
    reason: Reason,
}

/// A request that another operator must approve.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingApproval {
    id: RequestId,
    #[serde(with = "contracts::clock::wire")]
    expires_at: Timestamp,
}

/// The active rules of this instance.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RulesView {
    source: Source,
    rules: String,
    /// The newest approved override, also one that restored the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<RuleOverrideView>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RuleOverrideView {
    id: RequestId,
    reason: String,
    requested_by: String,
    approved_by: String,
    #[serde(with = "contracts::clock::wire")]
    approved_at: Timestamp,
}

/// Requests the change. Its id is the `X-Request-Id`.
pub async fn request(
    State(overrides): State<RuleOverrides>,
    Extension(account): Extension<ServiceAccount>,
    Extension(context): Extension<RequestContext>,
    Json(body): Json<OverrideRequest>,
) -> ApiResult<(StatusCode, Json<PendingApproval>)> {
    let request = overrides.request(context.id, account, body.rules, body.reason).await?;
    let pending = PendingApproval { id: request.id, expires_at: request.expires_at };
    Ok((StatusCode::ACCEPTED, Json(pending)))
}

/// Approves a request.
pub async fn approve(
    State(overrides): State<RuleOverrides>,
    Extension(account): Extension<ServiceAccount>,
    Path(id): Path<RequestId>,
) -> ApiResult<Json<RulesView>> {
    overrides.approve(id, account).await?;
    Ok(get_rules(State(overrides)).await)
}

/// Returns the active rules and their source.
pub async fn get_rules(State(overrides): State<RuleOverrides>) -> Json<RulesView> {
    let now = overrides.in_force().await;
    let (rules, order) = (now.text.to_string(), now.rule_override.map(RuleOverrideView::from));
    Json(RulesView { source: now.source, rules, order })
}

impl From<RuleOverride> for RuleOverrideView {
    fn from(active: RuleOverride) -> Self {
        Self {
            id: active.request.id,
            reason: active.request.reason,
            requested_by: active.request.by.email,
            approved_by: active.approval.by.email,
            approved_at: active.approval.at,
        }
    }
}

impl From<OverrideError> for ApiError {
    fn from(error: OverrideError) -> Self {
        let sentence = error.to_string();
        match error {
            OverrideError::Store(error) => unavailable(error),
            OverrideError::Rules(_) => {
                let detail = format!("The rules are invalid: {sentence}");
                Problem::field("body.rules", "INVALID", detail).into()
            }
            OverrideError::Unknown => Self::not_found(),
            OverrideError::SamePerson => Self::new(&code::ADMIN_SECOND_PERSON_REQUIRED, sentence),
            OverrideError::Exists | OverrideError::Expired | OverrideError::Approved => {
                Self::new(&code::ADMIN_REQUEST_CLOSED, sentence)
            }
        }
    }
}
