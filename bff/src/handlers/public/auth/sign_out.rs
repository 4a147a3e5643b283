//! `POST /auth/sign-out`: ends the caller's session in the gateway, then at iam.
//!
//! The gateway's revocation works without iam: the token is refused, and the session is never
//! refreshed.

use auth::Principal;
use axum::extract::State;
use contracts::clock::Clock;
use contracts::text::Reason;
use contracts::upstream::iam::SignOutRequest;
use http::StatusCode;
use metrics::counter;
use service_kit::problem::{ApiError, ApiResult, chain};
use tokio::time::Instant;
use upstream_clients::Upstreams;

use super::IAM_TIMEOUT;
use crate::edge::{Caller, CallerContext, SignedIn};
use crate::problems::unavailable;
use crate::sessions::revocation::Target;
use crate::sessions::revocation::store::NewRevocation;
use crate::state::Gateway;

/// Sent to the session's live streams.
const REASON: &str = "signed_out";

/// End the session.
///
/// Its tokens are refused from now on and its live streams end. A token without a session ends
/// all sessions of its device. Signing out again, with a new proof, is a success too.
#[utoipa::path(
    post, path = "/auth/sign-out", tag = "auth",
    responses((status = 204, description = "The session has ended")),
)]
pub(crate) async fn sign_out(
    caller: Caller<SignedIn>,
    calls: CallerContext,
    State(gateway): State<Gateway>,
) -> ApiResult<StatusCode> {
    // Includes the token's issue time, so that a reused request id does not make a later sign-out a
    // repeat.
    let cause = format!("{}:{}", calls.request_id(), caller.principal.issued_at.as_second());
    let revocation = revocation(&caller.principal, &gateway.env.clock, cause);
    let lifecycle = gateway.lifecycle.clone();
    // Runs to completion, so that a disconnected client leaves no session that lives on at iam.
    let ending = lifecycle
        .spawn(async move { end_session(&gateway, &calls, &caller.principal, &revocation).await });
    ending.await.unwrap_or_else(|error| Err(ApiError::internal(&error)))
}

async fn end_session(
    gateway: &Gateway,
    calls: &CallerContext,
    principal: &Principal,
    revocation: &NewRevocation,
) -> ApiResult<StatusCode> {
    gateway.revocations.revoke(&gateway.database, revocation).await.map_err(unavailable)?;
    counter!("bff_backoffice_revocation_total", "kind" => revocation.target.kind()).increment(1);
    let is_notified = notify_iam(&gateway.upstreams, calls, principal).await;
    counter!("bff_backoffice_sign_out_total", "iam" => if is_notified { "told" } else { "untold" })
        .increment(1);
    Ok(StatusCode::NO_CONTENT)
}

fn revocation(principal: &Principal, clock: &Clock, cause: String) -> NewRevocation {
    let target = principal.session.map_or(Target::Device(principal.device), Target::Session);
    let (revoked_at, reason) = (clock.now(), Reason::fitted(REASON, REASON));
    NewRevocation { tenant: principal.tenant, target, revoked_at, reason, cause }
}

/// Notifies iam. On failure its refresh token stays valid there, but is refused here.
async fn notify_iam(upstreams: &Upstreams, calls: &CallerContext, principal: &Principal) -> bool {
    let Some(session_id) = principal.session else { return false };
    // Counted from now, because iam should be notified however long the store took.
    let context = calls.with_deadline(Instant::now() + IAM_TIMEOUT);
    match upstreams.sign_out(&context, &SignOutRequest { session_id }).await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(error = %chain(&error), "Failed to notify iam of a sign-out; the gateway refuses the session.");
            false
        }
    }
}
