//! The caller of a service, authenticated by the gateway's request token.

use std::sync::Arc;
use std::time::Duration;

use auth::Principal;
use auth::edge::{AuthError, RemoteKeys, RequestTokenAuthenticator};
use auth::token::TokenRules;
use axum::extract::{FromRef, FromRequestParts};
use contracts::clock::Clock;
use contracts::headers;
use contracts::id::PropertyId;
use contracts::problem::code;
use http::request::Parts;

use crate::config::CallersConfig;
use crate::problem::ApiError;
use crate::request::RequestContext;
use crate::serve::mark_authenticated;

/// Verifies the request tokens meant for one service.
pub type Callers = Arc<RequestTokenAuthenticator>;

/// Makes the authenticator of a service. `audience` is the service's name.
pub fn callers(config: &CallersConfig, audience: &str, clock: Clock) -> Callers {
    let client = crate::http_client::short_requests();
    Arc::new(RequestTokenAuthenticator {
        keys: RemoteKeys::new(config.jwks_url.clone(), client, Duration::from_secs(5)),
        rules: TokenRules { issuer: config.issuer.clone(), audience: audience.to_owned() },
        clock,
    })
}

/// The calling operator. A handler that extracts it requires a valid request token.
#[derive(Debug, Clone)]
pub struct Caller(pub Principal);

impl Caller {
    /// Records the caller in the request's context.
    fn noted(principal: Principal, parts: &Parts) -> Self {
        if let Some(context) = parts.extensions.get::<RequestContext>() {
            context.note_caller(&principal);
        }
        Self(principal)
    }

    /// Refuses a property outside the caller's scope.
    pub fn require(&self, property: PropertyId) -> Result<(), ApiError> {
        if self.0.covers(property) {
            return Ok(());
        }
        Err(ApiError::new(
            &code::PROPERTY_OUT_OF_SCOPE,
            "The property is not in your scope. Request access to it.",
        ))
    }
}

impl<S> FromRequestParts<S> for Caller
where
    S: Send + Sync,
    Callers: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let callers = Callers::from_ref(state);
        let principal = callers.authenticate(&parts.headers).await.map_err(rejection)?;
        let tenant = parts.headers.get(headers::TENANT_ID).map(|value| value.to_str().ok());
        match tenant {
            Some(named) if named != Some(principal.tenant.as_str()) => Err(ApiError::new(
                &code::TENANT_MISMATCH,
                "X-Tenant-Id contradicts the token. Leave it out, or send the tenant of the token.",
            )),
            _ => Ok(Self::noted(principal, parts)),
        }
    }
}

/// The gateway itself, without an operator.
#[derive(Debug, Clone, Copy)]
pub struct ServiceCaller;

impl<S> FromRequestParts<S> for ServiceCaller
where
    S: Send + Sync,
    Callers: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let callers = Callers::from_ref(state);
        callers.authenticate_service(&parts.headers).await.map_err(rejection)?;
        mark_authenticated(&parts.extensions);
        Ok(Self)
    }
}

fn rejection(error: AuthError) -> ApiError {
    match error {
        AuthError::KeysUnavailable => ApiError::new(
            &code::UNAVAILABLE,
            "The keys of the gateway cannot be fetched. Try again.",
        ),
        other => {
            tracing::info!(reason = %other, "A request token was refused.");
            ApiError::new(
                &code::UNAUTHENTICATED,
                "Send the gateway's request token for this service as a Bearer token.",
            )
        }
    }
}
