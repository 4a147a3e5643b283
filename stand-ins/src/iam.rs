//! The stand-in iam: a small OAuth 2.0 authorization server for the demo operators.
//!
//! RFC 6749 (password and refresh_token grants), RFC 8414 (metadata), RFC 9449 section 5 (every
//! token is bound to the key of the proof it was asked for with), RFC 9068 (token form). What it
//! does for the gateway is in `gateway`: refresh, sign-out and the second factor (RFC 6238). A
//! session that ends before its time is told as an event. Beside it stands the issuer of service
//! accounts, `oidc`.
//! Not here: registration, and a lockout of passwords; a demo operator's password and second factor are no secrets.

mod accounts;
mod error;
mod factors;
mod form;
mod gateway;
mod keys;
mod oidc;
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
use contracts::clock::{Clock, Entropy};
use contracts::headers;
use http::{HeaderName, HeaderValue, Method, header};
use jsonwebtoken::jwk::JwkSet;
use serde_json::{Value, json};
use service_kit::caller::Callers;
use tower_http::cors::CorsLayer;

use crate::demo::House;
use crate::ledger::Ledger;
use crate::relay::Relay;
use accounts::Accounts;
use factors::Factors;
use keys::SigningKey;
use sessions::Sessions;

pub(crate) use keys::KeyError;
pub(crate) use oidc::Oidc;
pub(crate) use sessions::Target;

/// The one client: the desktop, public, without a secret.
const CLIENT: &str = "desktop";
/// Who takes the tokens.
const AUDIENCE: &str = "bff-backoffice";

#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) issuer: String,
    pub(crate) nonces: bool,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) clock: Clock,
    pub(crate) entropy: Entropy,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) relay: Arc<Relay>,
}

#[derive(Debug)]
pub(crate) struct Iam {
    issuer: String,
    token_endpoint: Htu,
    key: SigningKey,
    proofs: ProofVerifier,
    replays: LocalReplays,
    accounts: Accounts,
    sessions: Sessions,
    factors: Factors,
    world: World,
}

impl Iam {
    pub(crate) fn new(
        settings: Settings,
        pem: &[u8],
        house: &House,
        world: World,
    ) -> Result<Self, KeyError> {
        let endpoint = format!("{}/oauth2/token", settings.issuer);
        let token_endpoint = Htu::parse(&endpoint).map_err(|_| KeyError::Issuer)?;
        let mut proofs = ProofVerifier::new(Window::default());
        if settings.nonces {
            let key = [world.entropy.u128().to_be_bytes(), world.entropy.u128().to_be_bytes()];
            proofs = proofs.with_nonces(Nonces::new(key.as_flattened()).expect("32 bytes"));
        }
        Ok(Self {
            token_endpoint,
            key: SigningKey::read(pem)?,
            replays: LocalReplays::new(100_000, proofs.span()),
            proofs,
            accounts: Accounts::of(house),
            sessions: Sessions::default(),
            factors: Factors::default(),
            issuer: settings.issuer,
            world,
        })
    }

    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }
}

/// The iam and whose request tokens it takes.
#[derive(Debug, Clone, FromRef)]
struct Office {
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
        .with_state(Office { iam, callers })
        .merge(accounts)
}

/// For the web console, which calls from the control listener's origin.
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
