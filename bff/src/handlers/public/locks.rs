//! `POST /locks/{lockId}/issue-key` and `/revoke-key`: issues and revokes keys.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;

use contracts::env::Env;
use contracts::id::{AttestationId, LockDeviceId};
use contracts::locks::{LockActionKind, RevokeKey};
use contracts::upstream::Upstream;
use contracts::upstream::lock::{IssueKeyRequest, IssuedKey, RevokeKeyRequest, RevokedKey};
use service_kit::problem::ApiResult;
use upstream_clients::IdempotentBody;

use crate::edge::LiveSession;
use crate::edge::permissions::Reception;
use crate::locks::{Action, AtLock};
use crate::mutation::attestation::{LockRevoke, Presented};
use crate::mutation::{EffectLog, Mutation, Mutations, Request};

/// Issues a key for a guest.
///
/// lock-integration decides whether the lock can take it; its refusals pass through.
#[utoipa::path(
    post, path = "/locks/{lockId}/issue-key", tag = "locks",
    params(("lockId" = LockDeviceId, Path, description = "The lock of one of the rooms."),
        crate::mutation::request::Headers),
    request_body = IssueKeyRequest,
    responses((status = 201, body = IssuedKey)),
)]
pub(crate) async fn issue_key(
    at: AtLock<Reception>,
    LiveSession(session): LiveSession,
    State(mutations): State<Mutations>,
    request: Request,
) -> ApiResult<Response> {
    let IssueKeyRequest { .. } = request.read()?;
    let (lock, action) = action(LockActionKind::IssueKey, &at, mutations.env());
    let mutation = Mutation {
        upstream: Upstream::Lock,
        action: "lock.issue_key",
        resource: lock.to_string(),
        session: session.id,
        second_factor: None,
        property: at.location.as_ref().ok().map(|location| location.property),
        effect_log: Some(action),
    };
    mutations
        .execute(request, mutation, move |to| async move {
            at.location?;
            let command = IdempotentBody { key: &to.key, body: to.body };
            to.upstreams.issue_key(&to.context, lock, command).await
        })
        .await
}

/// Revokes a key.
///
/// A second factor that is bound to a resource must be bound to the lock.
#[utoipa::path(
    post, path = "/locks/{lockId}/revoke-key", tag = "locks",
    params(("lockId" = LockDeviceId, Path, description = "The lock that the key was made for."),
        crate::mutation::request::Headers,
        ("X-MFA-Attestation" = AttestationId, Header, description = "From step-up, for `lock.revoke`.")),
    request_body = RevokeKey,
    responses((status = 200, body = RevokedKey)),
)]
pub(crate) async fn revoke_key(
    at: AtLock<Reception>,
    LiveSession(session): LiveSession,
    attestation: Presented<LockRevoke>,
    State(mutations): State<Mutations>,
    request: Request,
) -> ApiResult<Response> {
    let RevokeKey { key_credential_id: key, reason: given } = request.read()?;
    let body = RevokeKeyRequest { reason: given };
    let body: Bytes = serde_json::to_vec(&body).expect("a reason is plain JSON").into();
    let (lock, action) = action(LockActionKind::RevokeKey, &at, mutations.env());
    let mutation = Mutation {
        upstream: Upstream::Lock,
        action: "lock.revoke_key",
        resource: lock.to_string(),
        session: session.id,
        second_factor: Some(attestation.into()),
        property: at.location.as_ref().ok().map(|location| location.property),
        effect_log: Some(action),
    };
    mutations
        .execute(request, mutation, move |to| async move {
            at.location?;
            let command = IdempotentBody { key: &to.key, body };
            to.upstreams.revoke_key(&to.context, lock, key, command).await
        })
        .await
}

fn action<P>(
    kind: LockActionKind,
    at: &AtLock<P>,
    env: &Env,
) -> (LockDeviceId, Arc<dyn EffectLog>) {
    let location = at.location.as_ref().ok().cloned();
    (at.lock, Arc::new(Action::new(kind, at.lock, location, env.clone())))
}
