//! The stand-in iam: a small OAuth 2.0 authorization server for the demo operators.
//!
//! RFC 6749 (password and refresh_token grants), RFC 8414 (metadata), RFC 9449 section 5 (tokens are
//! bound to the key of the request's proof), RFC 9068 (token format). `gateway` has the routes that
//! the gateway calls: refresh, sign-out and second factor (RFC 6238). A session that is revoked is
//! published as an event.
//!
//! Not here: registration, and a lockout of passwords, because the credentials of demo operators are
//! not secret; tokens of service accounts are in [`crate::oidc`].

mod factors;
mod gateway;
mod revocation;
mod sessions;
mod token;

use std::sync::Arc;
use std::time::Duration;

use auth::htu::Htu;
use auth::nonce::Nonces;
use auth::proof::{ALGORITHMS, ProofVerifier, Window};
use auth::replay::LocalReplays;
use axum::extract::{FromRef, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use contracts::headers;
use http::{HeaderName, HeaderValue, Method, header};
use jsonwebtoken::jwk::JwkSet;
use serde_json::{Value, json};
use service_kit::caller::Callers;
use tower_http::cors::CorsLayer;

use crate::config::IamConfig;
use crate::event_dispatcher::EventDispatcher;
use crate::oauth::{KeyError, SigningKey};
use crate::oidc::{self, Oidc};
use crate::upstreams::Platform;
use factors::Factors;
use sessions::Sessions;

pub(crate) use sessions::Target;

/// The only client: the desktop, which is public (RFC 6749 section 2.1).
const CLIENT_ID: &str = "desktop";
/// Audience of the access tokens.
const TOKEN_AUDIENCE: &str = "bff-backoffice";

#[derive(Debug)]
pub(crate) struct Iam {
    issuer: String,
    token_endpoint: Htu,
    key: SigningKey,
    proofs: ProofVerifier,
    replays: LocalReplays,
    sessions: Sessions,
    factors: Factors,
    platform: Arc<Platform>,
    dispatcher: Arc<EventDispatcher>,
}

impl Iam {
    pub(crate) fn new(
        config: &IamConfig,
        issuer: String,
        pem: &[u8],
        platform: Arc<Platform>,
        dispatcher: Arc<EventDispatcher>,
    ) -> Result<Self, KeyError> {
        let endpoint = format!("{issuer}/oauth2/token");
        let token_endpoint = Htu::parse(&endpoint).map_err(|_| KeyError::Issuer)?;
        let mut proofs = ProofVerifier::new(Window::default());
        if config.dpop_nonces {
            let key = [(); 2].map(|()| platform.env.entropy.u128().to_be_bytes());
            proofs = proofs.with_nonces(Nonces::new(key.as_flattened()).expect("32 bytes"));
        }
        Ok(Self {
            token_endpoint,
            key: SigningKey::read(pem)?,
            replays: LocalReplays::new(100_000, proofs.span()),
            proofs,
            sessions: Sessions::default(),
            factors: Factors::default(),
            issuer,
            platform,
            dispatcher,
        })
    }

    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }
}

/// Router state.
#[derive(Debug, Clone, FromRef)]
struct RouterState {
    iam: Arc<Iam>,
    callers: Callers,
}

pub(crate) fn router(iam: Arc<Iam>, callers: Callers, oidc: Option<Arc<Oidc>>) -> Router {
    let accounts = oidc.map(oidc::router).unwrap_or_default();
    Router::new()
        .route("/.well-known/oauth-authorization-server", get(metadata))
        .route("/jwks", get(jwks))
        .route("/oauth2/token", post(token::token))
        .route("/api/v1/auth/refresh", post(gateway::refresh))
        .route("/api/v1/auth/sign-out", post(gateway::sign_out))
        .route("/api/v1/auth/mfa/attest", post(gateway::attest))
        .with_state(RouterState { iam, callers })
        .merge(accounts)
}

/// Allows the web console, which is served by the control listener.
pub(crate) fn cors(origins: &[String]) -> CorsLayer {
    let origins = origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
    CorsLayer::new()
        .allow_origin(origins.collect::<Vec<_>>())
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([header::CONTENT_TYPE, HeaderName::from_static(headers::DPOP)])
        .expose_headers([HeaderName::from_static(headers::DPOP_NONCE), header::WWW_AUTHENTICATE])
        .max_age(Duration::from_secs(600))
}

/// RFC 8414 section 2.
async fn metadata(State(iam): State<Arc<Iam>>) -> Json<Value> {
    let issuer = &iam.issuer;
    Json(json!({
        "issuer": issuer,
        "token_endpoint": format!("{issuer}/oauth2/token"),
        "jwks_uri": format!("{issuer}/jwks"),
        "grant_types_supported": ["password", "refresh_token"],
        "response_types_supported": [],
        "token_endpoint_auth_methods_supported": ["none"],
        "dpop_signing_alg_values_supported": ALGORITHMS,
    }))
}

async fn jwks(State(iam): State<Arc<Iam>>) -> Json<JwkSet> {
    Json(iam.key.public())
}
