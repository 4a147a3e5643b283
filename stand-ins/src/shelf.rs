//! Answers kept by idempotency key, for every mutation the stand-ins play: a repeat gets the answer
//! of the first and nothing happens again, as draft-ietf-httpapi-idempotency-key-header-07 has it.
//!
//! Refusals are not kept: nothing happened, and a repeat may find things changed.

use std::collections::HashMap;
use std::sync::Mutex;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use contracts::headers;
use contracts::id::TenantId;
use contracts::problem::{Code, code};
use contracts::upstream::Upstream;
use http::{HeaderMap, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use service_kit::extract::{self, Json};
use service_kit::problem::{ApiError, ApiResult};
use sha2::{Digest, Sha256};

use crate::ledger::lock;

/// How long an answer is kept (gateway-api section 5).
const KEPT: SignedDuration = SignedDuration::from_hours(24);
/// Old answers are looked for when there are more than this many.
const TIDY_ABOVE: usize = 10_000;
/// Says that nothing was done again.
const REPLAYED: &str = "idempotency-replayed";

static KEY_REUSED: Code = Code {
    name: "MELMASTOON.GENERAL.IDEMPOTENCY_KEY_REUSED",
    status: 422,
    title: "The idempotency key was used for something else",
    retriable: false,
    retry_after: None,
    runbook: None,
};

/// A request that changes something: its idempotency key, what it asks, and its body.
#[derive(Debug)]
pub(crate) struct Mutation<T> {
    pub(crate) ticket: Ticket,
    pub(crate) body: T,
}

/// Which request this is, however often it is sent.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) key: String,
    /// SHA-256 of method, path and body.
    fingerprint: [u8; 32],
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Mutation<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let key = key(request.headers())?.to_owned();
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
        Ok(Self { ticket: Ticket { key, fingerprint: digest.finalize().into() }, body })
    }
}

/// Any 16 to 128 characters of `[A-Za-z0-9_-]`.
fn key(headers: &HeaderMap) -> Result<&str, ApiError> {
    const FIELD: &str = "header.Idempotency-Key";
    let mut values = headers.get_all(headers::IDEMPOTENCY_KEY).iter();
    let value = values.next().ok_or_else(|| {
        ApiError::field(FIELD, "REQUIRED", "Send an Idempotency-Key with what changes something.")
    })?;
    let good = |key: &&str| {
        (16..=128).contains(&key.len())
            && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    };
    let key = value.to_str().ok().filter(good).filter(|_| values.next().is_none());
    key.ok_or_else(|| {
        ApiError::field(FIELD, "INVALID", "Send one key of 16 to 128 characters of A-Za-z0-9_-.")
    })
}

#[derive(Debug)]
struct Kept {
    fingerprint: [u8; 32],
    status: StatusCode,
    body: Value,
    until: Timestamp,
}

#[derive(Debug, Default)]
pub(crate) struct Shelf(Mutex<HashMap<(Upstream, TenantId, String), Kept>>);

impl Shelf {
    /// Lets `effect` happen unless it has, and answers as the first time. Of two at once the second
    /// waits, so the effect must be quick.
    pub(crate) fn once<T: Serialize>(
        &self,
        (upstream, tenant): (Upstream, TenantId),
        ticket: &Ticket,
        now: Timestamp,
        effect: impl FnOnce() -> ApiResult<(StatusCode, T)>,
    ) -> ApiResult<Response> {
        let mut kept = lock(&self.0);
        if kept.len() > TIDY_ABOVE {
            kept.retain(|_, answer| answer.until > now);
        }
        let slot = (upstream, tenant, ticket.key.clone());
        if let Some(first) = kept.get(&slot).filter(|answer| answer.until > now) {
            return first.again(ticket);
        }
        let (status, body) = effect()?;
        let body = serde_json::to_value(body).expect("answers are plain JSON");
        let Ticket { fingerprint, .. } = *ticket;
        kept.insert(slot, Kept { fingerprint, status, body: body.clone(), until: now + KEPT });
        Ok((status, Json(body)).into_response())
    }
}

impl Kept {
    fn again(&self, ticket: &Ticket) -> ApiResult<Response> {
        if self.fingerprint == ticket.fingerprint {
            return Ok((self.status, [(REPLAYED, "true")], Json(&self.body)).into_response());
        }
        Err(ApiError::new(
            &KEY_REUSED,
            "This idempotency key came with another request before. Take a new key.",
        ))
    }
}
