//! Idempotency keys of mutations (draft-ietf-httpapi-idempotency-key-header-07): a repeated request
//! gets the stored response of the first and has no further effect.
//!
//! Not here: error responses, which are not stored: the request had no effect and may succeed later.

use std::collections::HashMap;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use contracts::headers;
use contracts::id::TenantId;
use contracts::problem::{Code, code};
use contracts::upstream::Upstream;
use garde::Validate;
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use service_kit::extract::{self, Json};
use service_kit::idempotency_key::{IdempotencyKey, KeyError};
use service_kit::problem::{ApiError, ApiResult};
use sha2::{Digest, Sha256};

use crate::refusal::refusal;

/// How long a response is stored (gateway-api section 5).
const RESPONSE_TTL: SignedDuration = SignedDuration::from_hours(24);
/// Expired responses are dropped when there are more than this.
const PURGE_ABOVE: usize = 10_000;

static KEY_REUSED: Code = refusal(
    422,
    "MELMASTOON.GENERAL.IDEMPOTENCY_KEY_REUSED",
    "The idempotency key was used for another request",
);

/// Extracts the idempotency key, the fingerprint and the body of a mutating request.
#[derive(Debug)]
pub(crate) struct Mutation<T> {
    pub(crate) request_key: RequestKey,
    pub(crate) body: T,
}

/// Identifies a request however often it is sent.
#[derive(Debug)]
pub(crate) struct RequestKey {
    pub(crate) key: String,
    /// SHA-256 of method, path and body.
    fingerprint: [u8; 32],
}

impl<S, T> FromRequest<S> for Mutation<T>
where
    S: Send + Sync,
    T: DeserializeOwned + Validate<Context = ()>,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let key = IdempotencyKey::of(request.headers()).map_err(key_problem)?;
        let key = key.as_str().to_owned();
        let mut digest = Sha256::new();
        digest.update(request.method().as_str());
        digest.update([0]);
        digest.update(request.uri().path());
        digest.update([0]);
        let bytes = Bytes::from_request(request, state).await.map_err(|_| {
            ApiError::new(&code::BODY_TOO_LARGE, "The body is larger than this route takes.")
        })?;
        digest.update(&bytes);
        let body = extract::body(&bytes)?;
        Ok(Self { request_key: RequestKey { key, fingerprint: digest.finalize().into() }, body })
    }
}

fn key_problem(error: KeyError) -> ApiError {
    const FIELD: &str = "header.Idempotency-Key";
    match error {
        KeyError::Absent => ApiError::field(FIELD, "REQUIRED", "Send an Idempotency-Key header."),
        KeyError::Malformed => {
            let detail = "Send one key of 16 to 128 characters of A-Za-z0-9_-.";
            ApiError::field(FIELD, "INVALID", detail)
        }
    }
}

#[derive(Debug)]
struct StoredResponse {
    fingerprint: [u8; 32],
    status: StatusCode,
    body: Value,
    until: Timestamp,
}

#[derive(Debug, Default)]
pub(crate) struct IdempotencyStore(Mutex<HashMap<(Upstream, TenantId, String), StoredResponse>>);

impl IdempotencyStore {
    /// Runs `effect` and stores its response, or replays the stored one. Holds the lock meanwhile, so
    /// `effect` must be quick.
    pub(crate) fn run_once<T: Serialize>(
        &self,
        upstream: Upstream,
        tenant: TenantId,
        request_key: &RequestKey,
        now: Timestamp,
        effect: impl FnOnce() -> ApiResult<(StatusCode, T)>,
    ) -> ApiResult<Response> {
        let mut stored = self.0.lock();
        if stored.len() > PURGE_ABOVE {
            stored.retain(|_, response| response.until > now);
        }
        let scope = (upstream, tenant, request_key.key.clone());
        if let Some(first) = stored.get(&scope).filter(|response| response.until > now) {
            if first.fingerprint != request_key.fingerprint {
                return Err(ApiError::new(
                    &KEY_REUSED,
                    "This idempotency key was used for another request. Use a new key.",
                ));
            }
            let replayed = [(headers::IDEMPOTENCY_REPLAYED, "true")];
            return Ok((first.status, replayed, Json(&first.body)).into_response());
        }
        let (status, body) = effect()?;
        let body = serde_json::to_value(body).expect("answers are plain JSON");
        let RequestKey { fingerprint, .. } = *request_key;
        stored.insert(
            scope,
            StoredResponse { fingerprint, status, body: body.clone(), until: now + RESPONSE_TTL },
        );
        Ok((status, Json(body)).into_response())
    }
}
