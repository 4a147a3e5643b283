//! `POST /sync/v1/pull` and `/sync/v1/push`, which a desktop calls with its handshake token, not
//! through the gateway. The caller is authenticated as sync-service must; a transfer only moves the
//! cursor.

use auth::proof::Expected;
use auth::verifier::{access_token, proof_header};
use auth::{Principal, sync_token};
use axum::extract::State;
use contracts::problem::code;
use contracts::upstream::sync::DeviceCursor;
use http::HeaderMap;
use service_kit::extract::Json;
use service_kit::problem::{ApiError, ApiResult};

use crate::upstreams::UpstreamState;

pub(super) const PULL_PATH: &str = "/sync/v1/pull";
pub(super) const PUSH_PATH: &str = "/sync/v1/push";

pub(super) async fn pull(
    State(state): State<UpstreamState>,
    headers: HeaderMap,
) -> ApiResult<Json<DeviceCursor>> {
    let principal = state.authenticate(PULL_PATH, &headers).await?;
    let now = state.platform.env.now();
    Ok(Json(state.platform.cursors.change(principal.device, now, |cursor| {
        cursor.version += 1;
        cursor.last_pull_at = now.into();
    })))
}

pub(super) async fn push(
    State(state): State<UpstreamState>,
    headers: HeaderMap,
) -> ApiResult<Json<DeviceCursor>> {
    let principal = state.authenticate(PUSH_PATH, &headers).await?;
    let now = state.platform.env.now();
    let cursors = &state.platform.cursors;
    Ok(Json(cursors.change(principal.device, now, |cursor| cursor.last_push_at = Some(now.into()))))
}

impl UpstreamState {
    /// Authenticates the handshake token and a fresh proof by the key it is bound to.
    async fn authenticate(&self, path: &str, headers: &HeaderMap) -> ApiResult<Principal> {
        let token = access_token(headers).map_err(refused)?;
        let kid = sync_token::key_id(token).map_err(refused)?;
        let (cursors, now) = (&self.platform.cursors, self.platform.env.now());
        let keys = self.callers.keys.holding(&kid).await;
        let principal = sync_token::verify(token, &keys, &self.callers.rules, now);
        let principal = principal.map_err(refused)?;
        let target = cursors.target(path).ok_or_else(ApiError::not_found)?;
        let expected = Expected {
            method: "POST",
            targets: std::slice::from_ref(&target),
            token_digest: Some(&principal.token_digest),
            bound_to: principal.thumbprint.as_deref(),
            now,
        };
        let text = proof_header(headers).map_err(refused)?;
        let proof = cursors.proofs.verify(text, &expected).map_err(refused)?;
        if cursors.replays.first_use(proof.replay, now) {
            return Ok(principal);
        }
        Err(refused("the proof was used before"))
    }
}

fn refused(why: impl std::fmt::Display) -> ApiError {
    tracing::info!(reason = %why, "A transfer was refused.");
    ApiError::new(
        &code::UNAUTHENTICATED,
        "Send the token of a handshake as DPoP with a fresh proof by the desktop's key.",
    )
}
