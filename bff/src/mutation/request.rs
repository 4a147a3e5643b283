//! Request of a mutation: its key, its body as bytes, and its fingerprint.

use std::sync::Arc;

use auth::Principal;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, MatchedPath, OriginalUri};
use contracts::problem::code;
use garde::Validate;
use http::Uri;
use serde::de::DeserializeOwned;
use service_kit::extract;
use service_kit::idempotency_key::{IdempotencyKey, KeyError};
use service_kit::problem::{ApiError, ApiResult};
use service_kit::request::RequestContext;
use sha2::{Digest, Sha256};

use super::idempotency::fingerprint::RequestLine;
use super::idempotency::{Fingerprint, IdempotencyScope};
use crate::edge::{Caller, CallerContext, SignedIn};
use crate::state::Gateway;

/// Bytes.
const MAX_BODY: usize = 64 * 1024;

/// The headers of a mutation, for the OpenAPI document.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "its fields are documentation; IdempotencyKey reads the headers")]
pub(crate) struct Headers {
    /// New for each change, the same for its repeats; quoted or bare. `X-Idempotency-Key` is taken too.
    #[param(rename = "Idempotency-Key", pattern = "^[A-Za-z0-9_-]{16,128}$")]
    idempotency_key: String,
}

/// Taken last in a handler's signature: by then the caller is known to be allowed.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) principal: Arc<Principal>,
    pub(crate) calls: CallerContext,
    pub(crate) context: RequestContext,
    pub(crate) scope: IdempotencyScope,
    pub(crate) fingerprint: Fingerprint,
    pub(super) body: Bytes,
}

impl Request {
    /// Parses and validates the body. Nothing is claimed for one that breaks its contract.
    pub(crate) fn read<T: DeserializeOwned + Validate<Context = ()>>(&self) -> ApiResult<T> {
        extract::body(&self.body)
    }

    /// SHA-256 of the body, to which a second factor may be bound.
    pub(crate) fn body_digest(&self) -> [u8; 32] {
        Sha256::digest(&self.body).into()
    }
}

impl FromRequest<Gateway> for Request {
    type Rejection = ApiError;

    async fn from_request(
        request: axum::extract::Request,
        state: &Gateway,
    ) -> Result<Self, ApiError> {
        let (mut parts, body) = request.into_parts();
        let caller = Caller::<SignedIn>::from_request_parts(&mut parts, state).await?;
        let calls = CallerContext::from_request_parts(&mut parts, state).await?;
        let context = parts.extensions.get::<RequestContext>().cloned();
        let context =
            context.ok_or_else(|| ApiError::new(&code::INTERNAL, "The request has no context."))?;
        let key = IdempotencyKey::of(&parts.headers).map_err(key_problem)?;
        let content_type = extract::content_type(&parts.headers)?.to_owned();
        let route = parts.extensions.get::<MatchedPath>().cloned();
        let route =
            route.ok_or_else(|| ApiError::new(&code::INTERNAL, "The route has no name."))?;
        let method = parts.method.clone();
        let uri = original(&parts.extensions, &parts.uri);
        let mut request = axum::extract::Request::from_parts(parts, body);
        DefaultBodyLimit::max(MAX_BODY).apply(&mut request);
        let body = Bytes::from_request(request, state)
            .await
            .map_err(|error| body_error(error.status()))?;
        let line = RequestLine {
            method: method.as_str(),
            path: uri.path(),
            query: uri.query(),
            content_type: &content_type,
        };
        Ok(Self {
            scope: IdempotencyScope::new(&caller.principal, method.as_str(), route.as_str(), key),
            fingerprint: Fingerprint::new(line, &body),
            principal: caller.principal,
            calls,
            context,
            body,
        })
    }
}

/// With the base path, as the client sent it.
fn original(extensions: &http::Extensions, uri: &Uri) -> Uri {
    extensions.get::<OriginalUri>().map_or_else(|| uri.clone(), |original| original.0.clone())
}

fn key_problem(error: KeyError) -> ApiError {
    match error {
        KeyError::Absent => ApiError::new(
            &code::IDEMPOTENCY_KEY_REQUIRED,
            "Send an Idempotency-Key, new for each change and the same for its repeats.",
        ),
        KeyError::Malformed => ApiError::new(
            &code::IDEMPOTENCY_KEY_INVALID,
            "Send one Idempotency-Key of 16 to 128 letters, digits, hyphens or underscores.",
        ),
    }
}

fn body_error(status: http::StatusCode) -> ApiError {
    if status == http::StatusCode::PAYLOAD_TOO_LARGE {
        return ApiError::new(
            &code::PAYLOAD_TOO_LARGE,
            "The body is larger than a change may be. Send at most 64 KiB.",
        );
    }
    ApiError::new(&code::MALFORMED_REQUEST, "The body did not arrive whole. Send it again.")
}
