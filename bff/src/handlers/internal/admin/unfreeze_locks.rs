//! `/internal/admin/unfreeze-locks`: starts the lock routes again, by two people of the platform.
//!
//! On the internal listener alone, behind its check of service identities.

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
    /// For the audit: what was found to be the cause.
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

#[derive(Debug, Serialize)]
pub struct Told {
    frozen: bool,
}

/// The first person's half. Its id is the request's own (`X-Request-Id`).
pub async fn request(
    State(gateway): State<Gateway>,
    Extension(account): Extension<ServiceAccount>,
    Extension(context): Extension<RequestContext>,
    Json(wish): Json<UnfreezeRequest>,
) -> ApiResult<(StatusCode, Json<Waiting>)> {
    let wish = (context.id, account, wish.reason);
    let wish = freeze::request(&gateway.database, wish, &gateway.env.clock).await?;
    Ok((StatusCode::ACCEPTED, Json(Waiting { id: wish.id, expires_at: wish.expires_at })))
}

/// The second person's half.
pub async fn approve(
    State(gateway): State<Gateway>,
    Extension(account): Extension<ServiceAccount>,
    Path(id): Path<RequestId>,
) -> ApiResult<Json<Told>> {
    freeze::approve(&gateway.database, id, account, &gateway.env.clock).await?;
    state(State(gateway)).await
}

/// Whether the routes are frozen, on all instances.
pub async fn state(State(gateway): State<Gateway>) -> ApiResult<Json<Told>> {
    let asked = async {
        let mut connection = gateway.database.connection().await?;
        let transaction = read(&mut connection, TenantId::platform()).await?;
        freeze::is_frozen(&transaction).await
    };
    Ok(Json(Told { frozen: asked.await.map_err(unavailable)? }))
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
