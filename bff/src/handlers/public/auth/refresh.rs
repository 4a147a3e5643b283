//! `POST /auth/refresh`: issues new tokens to a device that proves its key.
//!
//! iam validates the refresh token; equal refreshes share its answer for 30 s
//! ([`crate::sessions::refresh_sharing`]). For each caller the new token is verified like a
//! received one, and checked against revocations since the session began.

use std::sync::Arc;

use auth::Principal;
use auth::edge::{AuthError, Authenticator};
use auth::token::AccessToken;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use contracts::id::Id;
use contracts::problem::code;
use contracts::upstream::Upstream;
use contracts::upstream::iam::{RefreshRequest, TokenResponse};
use futures_util::FutureExt;
use garde::Validate;
use http::header::CACHE_CONTROL;
use jiff::Timestamp;
use metrics::counter;
use serde::{Deserialize, Serialize};
use service_kit::extract::Json;
use service_kit::postgres::{Database, StoreError, read};
use service_kit::problem::{ApiError, ApiResult, chain};
use upstream_clients::CallError;

use super::IAM_TIMEOUT;
use crate::edge::proof_only::{ProofHolder, ServiceCalls};
use crate::edge::session_ended;
use crate::problems::unavailable;
use crate::problems::upstream;
use crate::sessions::refresh_sharing::{NotRefreshed, RefreshSharing};
use crate::sessions::revocation::store::was_revoked;
use crate::sessions::revocation::{Feed, Target, targets};
use crate::state::Gateway;

/// Characters; iam's tokens are far shorter.
const MAX_TOKEN_LENGTH: usize = 4096;
const RUNBOOK: &str = "bff-backoffice/iam-refresh-down";

#[derive(derive_more::Debug, Deserialize, Validate, utoipa::ToSchema)]
#[debug("RefreshBody")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RefreshBody {
    #[schema(min_length = 1, max_length = 4096)]
    #[garde(length(min = 1, max = MAX_TOKEN_LENGTH))]
    refresh_token: String,
}

/// The new pair: keep both, and forget the refresh token that was sent.
#[derive(derive_more::Debug, Serialize, utoipa::ToSchema)]
#[debug("NewTokens {{ expires_in: {expires_in:?}, .. }}")]
#[serde(rename_all = "camelCase")]
pub(crate) struct NewTokens {
    access_token: String,
    refresh_token: String,
    /// `DPoP`
    token_type: &'static str,
    /// Seconds until the access token ends.
    expires_in: u64,
}

/// Renew the tokens.
///
/// Send the refresh token with a proof for this URL and the device, without an `Authorization`
/// header. Refused for a session, device, operator or tenant that was revoked. The same refresh
/// token sent again within 30 s, with a new proof of the same key, gets the same pair: repeat a
/// refresh whose answer was lost.
#[utoipa::path(
    post, path = "/auth/refresh", tag = "auth", request_body = RefreshBody,
    responses((status = 200, body = NewTokens)),
)]
pub(crate) async fn refresh(
    holder: ProofHolder,
    calls: ServiceCalls,
    State(gateway): State<Gateway>,
    Json(body): Json<RefreshBody>,
) -> ApiResult<Response> {
    let (jkt, device_id) = (holder.thumbprint.to_string(), holder.device);
    let request = RefreshRequest { refresh_token: body.refresh_token, jkt, device_id };
    let answer = refresh_once(&gateway, &calls, &holder, &request).await?;
    let token = check_tokens(&gateway.authenticator, &answer, &holder).await?;
    calls.context.note_caller(&token.principal);
    if is_revoked(&gateway.revocations, &gateway.database, &token.principal).await? {
        count("revoked");
        return Err(session_ended("Your session was ended. Sign in again.").into());
    }
    count("ok");
    let left = token.principal.expires_at.duration_since(gateway.env.now());
    let expires_in = u64::try_from(left.as_secs()).unwrap_or_default();
    Ok(token_response(answer, request.refresh_token, expires_in))
}

/// Returns iam's answer to this refresh or an equal one. An invalid answer is not shared.
async fn refresh_once(
    gateway: &Gateway,
    calls: &ServiceCalls,
    holder: &ProofHolder,
    request: &RefreshRequest,
) -> Result<TokenResponse, ApiError> {
    let deadline = calls.received() + IAM_TIMEOUT;
    let (upstreams, context) = (Arc::clone(&gateway.upstreams), calls.with_deadline(deadline));
    let (authenticator, holder) = (Arc::clone(&gateway.authenticator), holder.clone());
    let sent = request.clone();
    let call = async move {
        let answer = upstreams.refresh(&context, &sent).await.map_err(not_refreshed)?;
        let checked = check_tokens(&authenticator, &answer, &holder).await;
        checked.map_err(|ApiError(problem)| NotRefreshed { problem, is_refusal: false })?;
        Ok(answer)
    };
    let sharing = RefreshSharing {
        redis: gateway.session_redis.0.clone(),
        entropy: gateway.env.entropy.clone(),
        lifecycle: gateway.lifecycle.clone(),
    };
    Ok(sharing.outcome(request, deadline, call.boxed()).await?)
}

fn count(outcome: &'static str) {
    counter!("bff_backoffice_refresh_total", "outcome" => outcome).increment(1);
}

/// Maps iam's refusal or failure (row F-1).
fn not_refreshed(error: CallError) -> NotRefreshed {
    let ApiError(mut problem) = upstream::iam_problem(&error);
    let refused = problem.status < 500;
    count(if refused { "refused" } else { "failed" });
    if problem.is(&code::UPSTREAM_UNAVAILABLE) || problem.is(&code::UPSTREAM_TIMEOUT) {
        problem.runbook = Some(RUNBOOK.into());
    }
    NotRefreshed { is_refusal: refused && problem.status < 500, problem }
}

/// Verifies that the gateway would accept the new token from this device and key.
async fn check_tokens(
    authenticator: &Authenticator,
    answer: &TokenResponse,
    holder: &ProofHolder,
) -> Result<AccessToken, ApiError> {
    let token = match authenticator.verify_issued(&answer.access_token).await {
        Ok(token) => token,
        Err(AuthError::KeysUnavailable) => {
            return Err(ApiError::new(
                &code::UPSTREAM_UNAVAILABLE,
                "The sign-in service is unavailable. Try again in a few seconds.",
            ));
        }
        Err(error) => return Err(schema_drift(&error.to_string())),
    };
    let is_the_callers =
        token.bound_to == *holder.thumbprint && token.principal.device == holder.device;
    if !is_the_callers {
        return Err(schema_drift("it is bound to another device or key"));
    }
    if !answer.token_type.eq_ignore_ascii_case("DPoP") {
        return Err(schema_drift("token_type is not DPoP"));
    }
    Ok(token)
}

/// Counts an invalid answer of iam and returns its problem.
fn schema_drift(why: &str) -> ApiError {
    counter!("bff_backoffice_upstream_schema_drift_total", "upstream" => Upstream::Iam.name())
        .increment(1);
    count("drifted");
    tracing::error!(why, "iam returned a token that this device cannot use.");
    upstream::schema_drift(Upstream::Iam)
}

/// Whether the token's session, device, operator or tenant was revoked since its session began, or
/// ever without a session. While Postgres is unavailable the revocations in memory decide.
async fn is_revoked(
    revocations: &Feed,
    database: &Database,
    principal: &Principal,
) -> Result<bool, ApiError> {
    let began = principal.session.map_or(Timestamp::UNIX_EPOCH, |session| session.made_at());
    if revocations.live().since(principal, began).is_some() {
        return Ok(true);
    }
    match was_ever_revoked(database, principal, began).await {
        Ok(revoked) => Ok(revoked),
        Err(error) if !error.is_unavailable() => Err(unavailable(error)),
        Err(error) => {
            tracing::warn!(error = %chain(&error), "Postgres is unavailable; checked a refresh only against recent revocations.");
            counter!("bff_backoffice_refresh_unchecked_total").increment(1);
            Ok(false)
        }
    }
}

async fn was_ever_revoked(
    database: &Database,
    principal: &Principal,
    began: Timestamp,
) -> Result<bool, StoreError> {
    let mut connection = database.connection().await?;
    let transaction = read(&mut connection, principal.tenant).await?;
    for target in targets(principal) {
        // A session that was revoked never comes back.
        let since =
            if matches!(target, Target::Session(_)) { Timestamp::UNIX_EPOCH } else { began };
        if was_revoked(&transaction, principal.tenant, target, since).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn token_response(answer: TokenResponse, sent: String, expires_in: u64) -> Response {
    // RFC 6749 section 6: without a new one, the one that was sent stays good.
    let refresh_token = answer.refresh_token.unwrap_or(sent);
    let access_token = answer.access_token;
    let body = NewTokens { access_token, refresh_token, token_type: "DPoP", expires_in };
    ([(CACHE_CONTROL, "no-store")], Json(body)).into_response()
}
