//! `POST /auth/refresh`: a new pair of tokens for a device that proves its key.
//!
//! iam decides whether the refresh token is good; equal refreshes share its answer for 30 s
//! ([`crate::sessions::refresh_sharing`]). Its answer is checked here for each
//! caller before it is returned: by the rules for tokens that callers send, and by what was revoked
//! since the session began.

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
use http::header::CACHE_CONTROL;
use jiff::Timestamp;
use metrics::counter;
use serde::{Deserialize, Serialize};
use service_kit::extract::Json;
use service_kit::postgres::{Database, StoreError, read};
use service_kit::problem::{ApiError, ApiResult, chain};
use upstream_clients::CallError;

use super::IAM_WITHIN;
use crate::edge::ended;
use crate::edge::proof_only::{ProofHolder, ServiceCalls};
use crate::problems::unavailable;
use crate::problems::upstream;
use crate::sessions::refresh_sharing::{NotRefreshed, RefreshSharing};
use crate::sessions::revocation::store::was_revoked;
use crate::sessions::revocation::{Feed, Target, targets};
use crate::state::Gateway;

/// Characters; iam's own are far shorter.
const LONGEST_TOKEN: usize = 4096;
const RUNBOOK: &str = "bff-backoffice/iam-refresh-down";

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RefreshBody {
    #[schema(min_length = 1, max_length = 4096)]
    refresh_token: String,
}

impl std::fmt::Debug for RefreshBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RefreshBody")
    }
}

/// The new pair: keep both, and forget the refresh token that was sent.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewTokens {
    access_token: String,
    refresh_token: String,
    /// `DPoP`
    token_type: &'static str,
    /// Seconds until the access token ends.
    expires_in: u64,
}

impl std::fmt::Debug for NewTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewTokens").field("expires_in", &self.expires_in).finish_non_exhaustive()
    }
}

/// Renew the tokens.
///
/// Send the refresh token with a proof for this URL and the device, without an `Authorization`
/// header. Refused for a session, device, operator or tenant that was revoked. The same refresh
/// token sent again within 30 s, with a new proof of the same key, gets the same pair: repeat a
/// refresh whose answer was lost.
#[utoipa::path(
    post, path = "/auth/refresh", tag = "auth", security(("proof" = [])), request_body = RefreshBody,
    responses((status = 200, body = NewTokens), (status = "default", response = crate::problems::AnyProblem)),
)]
pub async fn refresh(
    proven: ProofHolder,
    calls: ServiceCalls,
    State(gateway): State<Gateway>,
    Json(body): Json<RefreshBody>,
) -> ApiResult<Response> {
    let request = asked(body, &proven)?;
    let answer = shared(&gateway, &calls, &proven, &request).await?;
    let token = judged(&gateway.authenticator, &answer, &proven).await?;
    calls.context.note_caller(&token.principal);
    if is_revoked(&gateway.revocations, &gateway.database, &token.principal).await? {
        count("revoked");
        return Err(ended("Your session was ended. Sign in again.").into());
    }
    count("ok");
    let left = token.principal.expires_at.duration_since(gateway.env.now());
    let expires_in = u64::try_from(left.as_secs()).unwrap_or_default();
    Ok(handed_out(answer, request.refresh_token, expires_in))
}

/// iam's answer to this refresh or to an equal one. An invalid answer is not shared.
async fn shared(
    gateway: &Gateway,
    calls: &ServiceCalls,
    proven: &ProofHolder,
    request: &RefreshRequest,
) -> Result<TokenResponse, ApiError> {
    let deadline = calls.received() + IAM_WITHIN;
    let (upstreams, context) = (Arc::clone(&gateway.upstreams), calls.with_deadline(deadline));
    let (authenticator, proven) = (Arc::clone(&gateway.authenticator), proven.clone());
    let sent = request.clone();
    let ask = async move {
        let answer = upstreams.refresh(&context, &sent).await.map_err(not_refreshed)?;
        let usable = judged(&authenticator, &answer, &proven).await;
        usable.map_err(|ApiError(problem)| NotRefreshed { problem, is_refusal: false })?;
        Ok(answer)
    };
    let sharing = RefreshSharing {
        tier: gateway.session_redis.0.clone(),
        entropy: gateway.env.entropy.clone(),
        lifecycle: gateway.lifecycle.clone(),
    };
    Ok(sharing.outcome(request, deadline, ask.boxed()).await?)
}

fn count(outcome: &'static str) {
    counter!("bff_backoffice_refresh_total", "outcome" => outcome).increment(1);
}

fn asked(body: RefreshBody, proven: &ProofHolder) -> Result<RefreshRequest, ApiError> {
    let refresh_token = body.refresh_token;
    if !(1..=LONGEST_TOKEN).contains(&refresh_token.len()) {
        let detail = "Send the refresh token as iam gave it.";
        return Err(ApiError::field("body.refreshToken", "INVALID", detail));
    }
    let (jkt, device_id) = (proven.thumbprint.to_string(), proven.device);
    Ok(RefreshRequest { refresh_token, jkt, device_id })
}

/// iam's own word about the refresh token, or what kept it away (row F-1).
fn not_refreshed(error: CallError) -> NotRefreshed {
    let ApiError(mut problem) = upstream::of_iam(&error);
    let refused = problem.status < 500;
    count(if refused { "refused" } else { "failed" });
    if problem.is(&code::UPSTREAM_UNAVAILABLE) || problem.is(&code::UPSTREAM_TIMEOUT) {
        problem.runbook = Some(RUNBOOK.into());
    }
    NotRefreshed { is_refusal: refused && problem.status < 500, problem }
}

/// The new token, if the gateway itself will take it from this device and this key.
async fn judged(
    authenticator: &Authenticator,
    answer: &TokenResponse,
    proven: &ProofHolder,
) -> Result<AccessToken, ApiError> {
    let token = match authenticator.verify_issued(&answer.access_token).await {
        Ok(token) => token,
        Err(AuthError::KeysUnavailable) => {
            return Err(ApiError::new(
                &code::UPSTREAM_UNAVAILABLE,
                "The sign-in service's keys cannot be read yet. Try again.",
            ));
        }
        Err(error) => return Err(drifted(&error.to_string())),
    };
    let is_the_callers =
        token.bound_to == *proven.thumbprint && token.principal.device == proven.device;
    if !is_the_callers {
        return Err(drifted("it is bound to another device or key"));
    }
    if !answer.token_type.eq_ignore_ascii_case("DPoP") {
        return Err(drifted("token_type is not DPoP"));
    }
    Ok(token)
}

/// Counts an invalid answer of iam and makes the problem for it.
fn drifted(why: &str) -> ApiError {
    counter!("bff_backoffice_upstream_schema_drift_total", "upstream" => Upstream::Iam.name())
        .increment(1);
    count("drifted");
    tracing::error!(why, "iam answered a refresh with a token that this device cannot use.");
    upstream::drifted(Upstream::Iam)
}

/// Whether anything the token stands for was revoked since its session began; without a session
/// in the token, ever. With the durable store away, what this instance has heard decides.
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
            tracing::warn!(error = %chain(&error), "Only revocations of the last hour were asked before a refresh.");
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

fn handed_out(answer: TokenResponse, sent: String, expires_in: u64) -> Response {
    // RFC 6749 section 6: without a new one, the one that was sent stays good.
    let refresh_token = answer.refresh_token.unwrap_or(sent);
    let access_token = answer.access_token;
    let body = NewTokens { access_token, refresh_token, token_type: "DPoP", expires_in };
    ([(CACHE_CONTROL, "no-store")], Json(body)).into_response()
}
