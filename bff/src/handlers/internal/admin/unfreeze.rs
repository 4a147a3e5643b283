//! `/internal/admin/unfreeze-locks` and `/internal/admin/unfreeze-second-factor`: unfreeze routes, approved
//! by a second platform operator.
//!
//! Internal listener only, behind its check of service accounts.

use auth::oidc::ServiceAccount;
use axum::Extension;
use axum::extract::State;
use contracts::id::{RequestId, TenantId};
use contracts::rules::not_blank;
use contracts::text::Reason;
use garde::Validate;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use service_kit::extract::{Json, Path};
use service_kit::postgres::read;
use service_kit::problem::ApiResult;
use service_kit::request::RequestContext;

use super::PendingApproval;
use crate::admin::freeze::{FreezableRoutes, is_frozen};
use crate::admin::two_person::ApprovalRequest;
use crate::problems::unavailable;
use crate::state::Gateway;

/// Request to unfreeze routes.
#[derive(Debug, Deserialize, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct UnfreezeRequest {
    /// For the audit: the cause that was found.
    #[garde(custom(not_blank))]
    reason: Reason,
}

/// Whether routes are frozen.
#[derive(Debug, Serialize)]
pub(crate) struct FreezeStatus {
    frozen: bool,
}

/// Requests the change. Its id is the `X-Request-Id`.
pub(crate) async fn request<R: FreezableRoutes>(
    State(gateway): State<Gateway>,
    Extension(account): Extension<ServiceAccount>,
    Extension(context): Extension<RequestContext>,
    Json(body): Json<UnfreezeRequest>,
) -> ApiResult<(StatusCode, Json<PendingApproval>)> {
    let now = gateway.env.clock.now();
    let request = ApprovalRequest::new(context.id, account, body.reason, now);
    Ok(PendingApproval::accepted(R::UNFREEZE.request(&gateway.database, request).await?))
}

/// Approves a request.
pub(crate) async fn approve<R: FreezableRoutes>(
    State(gateway): State<Gateway>,
    Extension(account): Extension<ServiceAccount>,
    Path(id): Path<RequestId>,
) -> ApiResult<Json<FreezeStatus>> {
    R::UNFREEZE.approve(&gateway.database, id, &account, gateway.env.clock.now()).await?;
    state::<R>(State(gateway)).await
}

/// Returns whether the routes are frozen.
pub(crate) async fn state<R: FreezableRoutes>(
    State(gateway): State<Gateway>,
) -> ApiResult<Json<FreezeStatus>> {
    let is_frozen = async {
        let mut connection = gateway.database.connection().await?;
        let transaction = read(&mut connection, TenantId::platform()).await?;
        is_frozen::<R>(&transaction).await
    };
    Ok(Json(FreezeStatus { frozen: is_frozen.await.map_err(unavailable)? }))
}
