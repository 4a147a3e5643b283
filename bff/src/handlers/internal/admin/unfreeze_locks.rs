//! `/internal/admin/unfreeze-locks`: unfreezes the lock routes, approved by a second platform
//! operator.
//!
//! Internal listener only, behind its check of service accounts.

use auth::oidc::ServiceAccount;
use axum::Extension;
use axum::extract::State;
use contracts::id::{RequestId, TenantId};
use contracts::problem::code;
use contracts::text::Reason;
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use service_kit::extract::{Json, Path};
use service_kit::postgres::read;
use service_kit::problem::{ApiError, ApiResult};
use service_kit::request::RequestContext;

use crate::locks::freeze::{self, FreezeError};
use crate::problems::unavailable;
use crate::state::Gateway;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UnfreezeRequest {
    /// For the audit: the cause that was found.
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

#[derive(Debug, Serialize)]
pub struct FreezeStatus {
    frozen: bool,
}

/// Requests the change. Its id is the `X-Request-Id`.
pub async fn request(
    State(gateway): State<Gateway>,
    Extension(account): Extension<ServiceAccount>,
    Extension(context): Extension<RequestContext>,
    Json(body): Json<UnfreezeRequest>,
) -> ApiResult<(StatusCode, Json<PendingApproval>)> {
    let (database, clock) = (&gateway.database, &gateway.env.clock);
    let body = freeze::request(database, context.id, account, body.reason, clock).await?;
    Ok((StatusCode::ACCEPTED, Json(PendingApproval { id: body.id, expires_at: body.expires_at })))
}

/// Approves a request.
pub async fn approve(
    State(gateway): State<Gateway>,
    Extension(account): Extension<ServiceAccount>,
    Path(id): Path<RequestId>,
) -> ApiResult<Json<FreezeStatus>> {
    freeze::approve(&gateway.database, id, account, &gateway.env.clock).await?;
    state(State(gateway)).await
}

/// Returns whether the routes are frozen.
pub async fn state(State(gateway): State<Gateway>) -> ApiResult<Json<FreezeStatus>> {
    let is_frozen = async {
        let mut connection = gateway.database.connection().await?;
        let transaction = read(&mut connection, TenantId::platform()).await?;
        freeze::is_frozen(&transaction).await
    };
    Ok(Json(FreezeStatus { frozen: is_frozen.await.map_err(unavailable)? }))
}

impl From<FreezeError> for ApiError {
    fn from(error: FreezeError) -> Self {
        let sentence = error.to_string();
        match error {
            FreezeError::Store(error) => unavailable(error),
            FreezeError::Unknown => Self::not_found(),
            FreezeError::SamePerson => Self::new(&code::ADMIN_SECOND_PERSON_REQUIRED, sentence),
            FreezeError::Exists | FreezeError::Expired | FreezeError::Approved => {
                Self::new(&code::ADMIN_REQUEST_CLOSED, sentence)
            }
        }
    }
}
