//! `/internal/admin/edge-rules`: rules of the edge in a hurry, by two people of the platform.
//!
//! On the internal listener alone, behind its check of service identities.

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
use crate::firewall::rule_override::store::Order;
use crate::firewall::rule_override::{OrderError, Orders};
use crate::problems::unavailable;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OrderRequest {
    /// TOML, as `ops/edge-rules.toml` shows; empty: back to the file.
    rules: String,
    /// For the audit.
    reason: Reason,
}

/// A request that waits for its second person.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    id: RequestId,
    #[serde(with = "contracts::clock::wire")]
    expires_at: Timestamp,
}

/// What is in force on the instance that answers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InForce {
    source: Source,
    rules: String,
    /// The newest that was approved, also one that gave way to the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<Told>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    id: RequestId,
    reason: String,
    requested_by: String,
    approved_by: String,
    #[serde(with = "contracts::clock::wire")]
    approved_at: Timestamp,
}

/// The first person's half. Its id is the request's own (`X-Request-Id`).
pub async fn request(
    State(orders): State<Orders>,
    Extension(account): Extension<ServiceAccount>,
    Extension(context): Extension<RequestContext>,
    Json(wish): Json<OrderRequest>,
) -> ApiResult<(StatusCode, Json<Waiting>)> {
    let request = orders.request(context.id, account, wish.rules, wish.reason).await?;
    let waiting = Waiting { id: request.id, expires_at: request.expires_at };
    Ok((StatusCode::ACCEPTED, Json(waiting)))
}

/// The second person's half.
pub async fn approve(
    State(orders): State<Orders>,
    Extension(account): Extension<ServiceAccount>,
    Path(id): Path<RequestId>,
) -> ApiResult<Json<InForce>> {
    orders.approve(id, account).await?;
    Ok(in_force(State(orders)).await)
}

/// What holds, and where it comes from.
pub async fn in_force(State(orders): State<Orders>) -> Json<InForce> {
    let now = orders.in_force().await;
    let (rules, order) = (now.text.to_string(), now.order.map(Told::from));
    Json(InForce { source: now.source, rules, order })
}

impl From<Order> for Told {
    fn from(order: Order) -> Self {
        Self {
            id: order.request.id,
            reason: order.request.reason,
            requested_by: order.request.by.email,
            approved_by: order.approval.by.email,
            approved_at: order.approval.at,
        }
    }
}

impl From<OrderError> for ApiError {
    fn from(error: OrderError) -> Self {
        let sentence = error.to_string();
        match error {
            OrderError::Store(error) => unavailable(error),
            OrderError::Rules(_) => {
                let detail = format!("The rules were not taken: {sentence}");
                Problem::field("body.rules", "INVALID", detail).into()
            }
            OrderError::Unknown => Self::not_found(),
            OrderError::SamePerson => Self::new(&code::ADMIN_SECOND_PERSON_REQUIRED, sentence),
            OrderError::Exists | OrderError::Expired | OrderError::Approved => {
                Self::new(&code::ADMIN_REQUEST_CLOSED, sentence)
            }
        }
    }
}
