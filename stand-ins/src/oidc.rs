//! An OpenID Connect issuer for service accounts, in place of the cloud's metadata server: an account
//! exchanges its secret for an identity token for an audience.
//!
//! It is served at `<iam>/oidc` and has its own key, so that its tokens cannot pass for access tokens.
//! Not here: what an account may do, which each server decides.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use contracts::clock::Clock;
use http::{HeaderMap, HeaderValue, header};
use jsonwebtoken::jwk::JwkSet;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::config::OidcConfig;
use crate::oauth::{Form, KeyError, OAuthError, SigningKey};

/// Seconds an identity token lasts.
const ID_TOKEN_SECONDS: i64 = 60 * 60;
const MAX_AUDIENCE_BYTES: usize = 256;

const WRONG_ACCOUNT: OAuthError = OAuthError::InvalidClient(
    "The service account is unknown or its secret is wrong. Send client_id and client_secret.",
);

#[derive(Debug)]
pub(crate) struct Oidc {
    issuer: String,
    domain: String,
    key: SigningKey,
    /// By email.
    secrets: BTreeMap<String, SecretString>,
    clock: Clock,
}

impl Oidc {
    /// `iam` is the base URL of iam.
    pub(crate) fn new(
        config: &OidcConfig,
        pem: &[u8],
        iam: &str,
        clock: Clock,
    ) -> Result<Self, KeyError> {
        let secrets = config.accounts.iter();
        let secrets = secrets.map(|(name, secret)| (config.email(name), secret.clone()));
        Ok(Self {
            issuer: format!("{iam}/oidc"),
            domain: config.domain.clone(),
            key: SigningKey::read(pem)?,
            secrets: secrets.collect(),
            clock,
        })
    }

    /// A token of an account, for callers in this process.
    pub(crate) fn token(&self, account: &str, audience: &str) -> String {
        self.sign(&format!("{account}@{}", self.domain), audience)
    }

    fn sign(&self, email: &str, audience: &str) -> String {
        let now = self.clock.unix_seconds();
        let claims = json!({
            "iss": self.issuer,
            "aud": audience,
            "sub": subject(email),
            "email": email,
            "email_verified": true,
            "iat": now,
            "exp": now + ID_TOKEN_SECONDS,
        });
        self.key.sign_as("JWT", &claims)
    }

    fn grant(&self, headers: &HeaderMap, body: &[u8]) -> Result<String, OAuthError> {
        let form = Form::read(headers, body)?;
        let kind = form.required("grant_type", "Send grant_type.")?;
        if kind != "client_credentials" {
            return Err(OAuthError::UnsupportedGrantType("client_credentials"));
        }
        let (email, secret) = (form.get("client_id"), form.get("client_secret"));
        let email = self.known(email.unwrap_or_default(), secret.unwrap_or_default());
        let email = email.ok_or(WRONG_ACCOUNT)?;
        let audience = form.required("audience", "Send audience.")?;
        if audience.len() > MAX_AUDIENCE_BYTES {
            return Err(OAuthError::InvalidRequest("The audience is too long."));
        }
        Ok(self.sign(email, audience))
    }

    /// Finds the account if the secret is right. Takes as long for an unknown account.
    fn known(&self, email: &str, secret: &str) -> Option<&str> {
        let account = self.secrets.get_key_value(email);
        let expected = account.map_or("", |(_, secret)| secret.expose_secret());
        let right = Sha256::digest(secret).ct_eq(&Sha256::digest(expected));
        let (email, _) = account?;
        (bool::from(right) && !secret.is_empty()).then_some(email)
    }
}

/// The unique id of an account: a number derived from the email.
fn subject(email: &str) -> String {
    let digest: [u8; 32] = Sha256::digest(email).into();
    u64::from_be_bytes(*digest.first_chunk().expect("a digest has 32 bytes")).to_string()
}

pub(crate) fn router(oidc: Arc<Oidc>) -> Router {
    Router::new()
        .route("/oidc/.well-known/openid-configuration", get(metadata))
        .route("/oidc/jwks", get(jwks))
        .route("/oidc/token", post(token))
        .with_state(oidc)
}

/// OpenID Connect Discovery 1.0 section 3.
async fn metadata(State(oidc): State<Arc<Oidc>>) -> Json<Value> {
    let issuer = &oidc.issuer;
    Json(json!({
        "issuer": issuer,
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/jwks"),
        "grant_types_supported": ["client_credentials"],
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "token_endpoint_auth_methods_supported": ["client_secret_post"],
        "claims_supported": ["iss", "aud", "sub", "email", "email_verified", "iat", "exp"],
    }))
}

async fn jwks(State(oidc): State<Arc<Oidc>>) -> Json<JwkSet> {
    Json(oidc.key.public())
}

async fn token(State(oidc): State<Arc<Oidc>>, headers: HeaderMap, body: Bytes) -> Response {
    let mut response = match oidc.grant(&headers, &body) {
        Ok(token) => {
            Json(json!({"id_token": token, "token_type": "Bearer", "expires_in": ID_TOKEN_SECONDS}))
                .into_response()
        }
        Err(error) => {
            tracing::info!(error = error.name(), reason = %error, "A service account was refused.");
            error.into_response()
        }
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
