//! `POST /auth/sign-out`: ends the caller's session, here first and then at iam.
//!
//! What the gateway wrote down holds without iam: the token is refused from now on, and the
//! session is never renewed (`refresh`).

use auth::Principal;
use axum::extract::State;
use contracts::clock::Clock;
use contracts::text::Reason;
use contracts::upstream::iam::SignOutRequest;
use http::StatusCode;
use metrics::counter;
use service_kit::problem::{ApiError, ApiResult, chain};
use tokio::sync::oneshot;
use tokio::time::Instant;
use upstream_clients::Upstreams;

use super::IAM_WITHIN;
use crate::edge::{Caller, CallerContext, SignedIn};
use crate::problems::unavailable;
use crate::sessions::revocation::Target;
use crate::sessions::revocation::store::Order;
use crate::state::Gateway;

/// Shown on the session's live streams.
const REASON: &str = "signed_out";

/// End the session.
///
/// Its tokens are refused from now on and its live streams end. A token without a session ends
/// all sessions of its device. Signing out again, with a new proof, is a success too.
#[utoipa::path(
    post, path = "/auth/sign-out", tag = "auth", security(("dpop" = [])),
    responses(
        (status = 204, description = "The session has ended"),
        (status = "default", response = crate::problems::AnyProblem),
    ),
)]
pub async fn sign_out(
    caller: Caller<SignedIn>,
    calls: CallerContext,
    State(gateway): State<Gateway>,
) -> ApiResult<StatusCode> {
    // With the token's time: an id that a client sends again must not make a later sign-out a repeat.
    let cause = format!("{}:{}", calls.request_id(), caller.principal.issued_at.as_second());
    let order = order(&caller.principal, &gateway.env.clock, cause);
    let lifecycle = gateway.lifecycle.clone();
    // A client that goes away does not leave a session that has ended here and lives on at iam.
    let (tell, told) = oneshot::channel();
    lifecycle.spawn(async move {
        let _ = tell.send(carry_out(&gateway, &calls, &caller.principal, &order).await);
    });
    told.await.unwrap_or_else(|error| Err(ApiError::internal(&error)))
}

async fn carry_out(
    gateway: &Gateway,
    calls: &CallerContext,
    principal: &Principal,
    order: &Order,
) -> ApiResult<StatusCode> {
    gateway.revocations.revoke(&gateway.database, order).await.map_err(unavailable)?;
    counter!("bff_backoffice_revocation_total", "kind" => order.target.kind()).increment(1);
    let told = tell_iam(&gateway.upstreams, calls, principal).await;
    counter!("bff_backoffice_sign_out_total", "iam" => if told { "told" } else { "untold" })
        .increment(1);
    Ok(StatusCode::NO_CONTENT)
}

fn order(principal: &Principal, clock: &Clock, cause: String) -> Order {
    let target = principal.session.map_or(Target::Device(principal.device), Target::Session);
    let (revoked_at, reason) = (clock.now(), Reason::fitted(REASON, REASON));
    Order { tenant: principal.tenant, target, revoked_at, reason, cause }
}

/// Whether iam knows. Where it does not, its refresh token lives on, and is refused here.
async fn tell_iam(upstreams: &Upstreams, calls: &CallerContext, principal: &Principal) -> bool {
    let Some(session_id) = principal.session else { return false };
    // From now on: however long the store took, the session is over, and iam should hear of it.
    let context = calls.with_deadline(Instant::now() + IAM_WITHIN);
    match upstreams.sign_out(&context, &SignOutRequest { session_id }).await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(error = %chain(&error), "iam was not told of a sign-out; the gateway refuses the session.");
            false
        }
    }
}
