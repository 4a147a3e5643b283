//! Errors of the token endpoints: RFC 6749 section 5.2, RFC 9449 sections 5 and 8.

use auth::proof::ProofError;
use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;

#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr, thiserror::Error)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum OAuthError {
    #[error("{0}")]
    InvalidRequest(&'static str),
    #[error("{0}")]
    InvalidClient(&'static str),
    #[error("{0}")]
    InvalidGrant(&'static str),
    #[error("Only these grant types are supported here: {0}.")]
    UnsupportedGrantType(&'static str),
    #[error("The DPoP proof was refused: {0}.")]
    #[strum(serialize = "invalid_dpop_proof")]
    InvalidProof(ProofError),
    #[error("Repeat the request with a proof that carries the nonce of the DPoP-Nonce header.")]
    #[strum(serialize = "use_dpop_nonce")]
    UseNonce,
}

impl OAuthError {
    pub(crate) const WRONG_CLIENT: Self = Self::InvalidClient(
        "The only client is the public client `desktop`. Send client_id=desktop and no secret.",
    );
    pub(crate) const WRONG_PASSWORD: Self =
        Self::InvalidGrant("The user name, the password or the device is wrong.");
    pub(crate) const WRONG_REFRESH_TOKEN: Self =
        Self::InvalidGrant("The refresh token is not valid. Sign in again.");

    pub(crate) fn name(self) -> &'static str {
        self.into()
    }
}

impl From<ProofError> for OAuthError {
    fn from(error: ProofError) -> Self {
        if error.asks_for_nonce() { Self::UseNonce } else { Self::InvalidProof(error) }
    }
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        let body = json!({"error": self.name(), "error_description": self.to_string()});
        if !matches!(self, Self::InvalidClient(_)) {
            return (StatusCode::BAD_REQUEST, Json(body)).into_response();
        }
        let challenge = HeaderValue::from_static("Basic realm=\"iam\"");
        (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)], Json(body))
            .into_response()
    }
}
