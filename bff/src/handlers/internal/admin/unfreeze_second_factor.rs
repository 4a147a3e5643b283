//! `/internal/admin/unfreeze-second-factor`: unfreezes the routes that require a second factor, approved
//! by a second platform operator.
//!
//! Internal listener only, behind its check of service accounts.

use auth::oidc::ServiceAccount;
use axum::Extension;
use axum::extract::State;
use contracts::id::{RequestId, TenantId};
use http::StatusCode;
use service_kit::extract::{Json, Path};
use service_kit::postgres::read;
use service_kit::problem::ApiResult;
use service_kit::request::RequestContext;

use super::PendingApproval;
use super::unfreeze_locks::{FreezeStatus, UnfreezeRequest};
use crate::admin::two_person::ApprovalRequest;
use crate::mutation::attestation::freeze::{self, UNFREEZE};
use crate::problems::unavailable;
use crate::state::Gateway;

/// Requests the change. Its id is the `X-Request-Id`.
pub(crate) async fn request(
    State(gateway): State<Gateway>,
    Extension(account): Extension<ServiceAccount>,
    Extension(context): Extension<RequestContext>,
    Json(body): Json<UnfreezeRequest>,
) -> ApiResult<(StatusCode, Json<PendingApproval>)> {
    let now = gateway.env.clock.now();
    let request = ApprovalRequest::new(context.id, account, body.reason, now);
    Ok(PendingApproval::accepted(UNFREEZE.request(&gateway.database, request).await?))
}

/// Approves a request.
pub(crate) async fn approve(
    State(gateway): State<Gateway>,
    Extension(account): Extension<ServiceAccount>,
    Path(id): Path<RequestId>,
) -> ApiResult<Json<FreezeStatus>> {
    UNFREEZE.approve(&gateway.database, id, &account, gateway.env.clock.now()).await?;
    state(State(gateway)).await
}

/// Returns whether the routes are frozen.
pub(crate) async fn state(State(gateway): State<Gateway>) -> ApiResult<Json<FreezeStatus>> {
    let is_frozen = async {
        let mut connection = gateway.database.connection().await?;
        let transaction = read(&mut connection, TenantId::platform()).await?;
        freeze::is_frozen(&transaction).await
    };
    Ok(Json(FreezeStatus { frozen: is_frozen.await.map_err(unavailable)? }))
}
