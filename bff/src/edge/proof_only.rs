//! Requests that come with a proof and no access token, because they ask for one.
//!
//! All checks of the proof but those that need a token, then the device; the proof is burnt last.
//! Not here: everything else of the API, which is behind [`crate::edge::authenticate`].

use std::sync::Arc;

use auth::edge::{AuthError, Authenticator};
use auth::request_token::RequestTokens;
use axum::extract::{FromRef, FromRequestParts, OriginalUri, Request, State};
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

use crate::edge::{finish, refused};
use crate::firewall::single;

/// Whose key made the proof, and the device it says it is.
#[derive(Debug, Clone)]
pub struct ProofHolder {
    /// RFC 7638 thumbprint.
    pub thumbprint: Arc<str>,
    pub device: DeviceId,
}

/// Middleware around the routes that need a proof alone.
pub async fn prove(
    State(authenticator): State<Arc<Authenticator>>,
    OriginalUri(uri): OriginalUri,
    mut request: Request,
    next: Next,
) -> Response {
    let line = (request.method().as_str(), uri.path());
    let mut response = match admit(&authenticator, line, request.headers()).await {
        Ok(proven) => {
            request.extensions_mut().insert(proven);
            next.run(request).await
        }
        Err(refusal) => refusal,
    };
    finish(&authenticator, &mut response);
    response
}

async fn admit(
    authenticator: &Authenticator,
    (method, path): (&str, &str),
    headers: &HeaderMap,
) -> Result<ProofHolder, Response> {
    if headers.contains_key(AUTHORIZATION) {
        return Err(two_credentials().into_response());
    }
    let proof = authenticator
        .verify_proof(method, path, headers)
        .map_err(|error| refused(AuthError::Proof(error)))?;
    let device = single(headers, DEVICE_ID).and_then(|id| id.parse().ok());
    let device = device.ok_or_else(|| refused(AuthError::Device))?;
    let burnt = authenticator.consume_proof(proof.replay).await;
    burnt.map_err(|error| refused(AuthError::Proof(error)))?;
    Ok(ProofHolder { thumbprint: proof.thumbprint.into(), device })
}

/// Which of the two would count is not guessed.
fn two_credentials() -> ApiError {
    ApiError::new(
        &code::MALFORMED_REQUEST,
        "Send the refresh token in the body with a proof, and no Authorization header.",
    )
}

impl<S: Send + Sync> FromRequestParts<S> for ProofHolder {
    type Rejection = ApiError;

    /// Without the middleware nobody is let in.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| {
            ApiError::new(&code::DPOP_INVALID, "Send a DPoP proof made for this request.")
        })
    }
}

/// What calls of the gateway itself, for no operator, take from the request.
#[derive(Debug, Clone)]
pub struct ServiceCalls {
    pub context: RequestContext,
    tokens: Arc<RequestTokens>,
}

impl ServiceCalls {
    /// When the request's first byte arrived: deadlines count from here.
    pub fn received(&self) -> Instant {
        self.context.received
    }

    pub fn with_deadline(&self, deadline: Instant) -> CallContext {
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

impl<S> FromRequestParts<S> for ServiceCalls
where
    S: Send + Sync,
    Arc<RequestTokens>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let context = parts.extensions.get::<RequestContext>().cloned();
        let context =
            context.ok_or_else(|| ApiError::new(&code::INTERNAL, "The request has no context."))?;
        Ok(Self { context, tokens: FromRef::from_ref(state) })
    }
}
