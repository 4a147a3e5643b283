//! Authentication of requests with a proof and no access token: token refresh.
//!
//! Checks the proof, except for what needs a token, then the device. The proof is consumed last.
//! Not here: the rest of the API ([`crate::edge::authenticate`]).

use std::sync::Arc;

use auth::edge::{AuthError, Authenticator};
use auth::request_token::RequestTokens;
use auth::verifier::single;
use axum::extract::{FromRequestParts, OriginalUri, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use contracts::headers::DEVICE_ID;
use contracts::id::DeviceId;
use contracts::problem::code;
use contracts::upstream::Upstream;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use service_kit::problem::ApiError;
use service_kit::request::RequestContext;
use tokio::time::Instant;
use upstream_clients::{CallContext, Credentials};

use super::RequestLine;
use crate::edge::{add_auth_headers, refusal_response};
use crate::state::Gateway;

/// The key that signed the proof, and the claimed device.
#[derive(Debug, Clone)]
pub(crate) struct ProofHolder {
    /// RFC 7638 thumbprint.
    pub thumbprint: Arc<str>,
    pub device: DeviceId,
}

/// Middleware around routes that require only a proof.
pub(crate) async fn require_proof(
    State(authenticator): State<Arc<Authenticator>>,
    OriginalUri(uri): OriginalUri,
    mut request: Request,
    next: Next,
) -> Response {
    let line = RequestLine { method: request.method().as_str(), path: uri.path() };
    let mut response = match verify(&authenticator, line, request.headers()).await {
        Ok(holder) => {
            request.extensions_mut().insert(holder);
            next.run(request).await
        }
        Err(refusal) => refusal,
    };
    add_auth_headers(&authenticator, &mut response);
    response
}

async fn verify(
    authenticator: &Authenticator,
    line: RequestLine<'_>,
    headers: &HeaderMap,
) -> Result<ProofHolder, Response> {
    if headers.contains_key(AUTHORIZATION) {
        return Err(two_credentials().into_response());
    }
    let proof = authenticator
        .verify_proof(line.method, line.path, headers)
        .map_err(|error| refusal_response(AuthError::Proof(error)))?;
    let device = single(headers, DEVICE_ID).and_then(|id| id.parse().ok());
    let device = device.ok_or_else(|| refusal_response(AuthError::Device))?;
    let consumed = authenticator.consume_proof(proof.replay).await;
    consumed.map_err(|error| refusal_response(AuthError::Proof(error)))?;
    Ok(ProofHolder { thumbprint: proof.thumbprint.into(), device })
}

/// Refuses requests with both a token and a refresh token.
fn two_credentials() -> ApiError {
    ApiError::new(
        &code::MALFORMED_REQUEST,
        "Send the refresh token in the body with a proof, and no Authorization header.",
    )
}

impl<S: Send + Sync> FromRequestParts<S> for ProofHolder {
    type Rejection = ApiError;

    /// Refuses the request if the middleware did not run.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| {
            ApiError::new(&code::DPOP_INVALID, "Send a DPoP proof made for this request.")
        })
    }
}

/// Context of upstream calls that the gateway makes for itself, not for an operator.
#[derive(Debug, Clone)]
pub(crate) struct ServiceCalls {
    pub context: RequestContext,
    tokens: Arc<RequestTokens>,
}

impl ServiceCalls {
    /// When the request's first byte arrived: deadlines count from here.
    pub(crate) fn received(&self) -> Instant {
        self.context.received
    }

    pub(crate) fn with_deadline(&self, deadline: Instant) -> CallContext {
        CallContext {
            tenant: None,
            request_id: self.context.id,
            traceparent: self.context.traceparent().into(),
            credentials: Arc::new(ServiceCredentials(Arc::clone(&self.tokens))),
            deadline,
        }
    }
}

struct ServiceCredentials(Arc<RequestTokens>);

impl Credentials for ServiceCredentials {
    fn bearer(&self, audience: Upstream) -> Arc<str> {
        self.0.service_token(audience.name())
    }
}

impl FromRequestParts<Gateway> for ServiceCalls {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, gateway: &Gateway) -> Result<Self, ApiError> {
        let context = parts.extensions.get::<RequestContext>().cloned();
        let context =
            context.ok_or_else(|| ApiError::new(&code::INTERNAL, "The request has no context."))?;
        Ok(Self { context, tokens: Arc::clone(&gateway.request_tokens) })
    }
}
