//! iam: RFC 6749 token answers, DPoP-bound (RFC 9449 section 5).

use serde::{Deserialize, Serialize};

/// Answer of `POST /oauth2/token`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TokenResponse {
    pub access_token: String,
    /// `DPoP`
    pub token_type: String,
    /// Seconds.
    pub expires_in: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
}

impl std::fmt::Debug for TokenResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenResponse")
            .field("expires_in", &self.expires_in)
            .finish_non_exhaustive()
    }
}

/// Claims of the access token, as gateway-api section 2 lists them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AccessTokenClaims {
    pub iss: String,
    pub aud: String,
    pub sub: String,
    pub tenant_id: String,
    pub device_id: String,
    pub property_ids: Vec<String>,
    pub roles: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
    pub cnf: Confirmation,
    pub iat: i64,
    pub exp: i64,
    pub jti: String,
}

/// RFC 7800 confirmation: the thumbprint of the key the token is bound to (RFC 9449 section 6.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmation {
    pub jkt: String,
}

/// Type of the event that says a session, or all of a device, an operator or a tenant, ended.
pub const SESSION_REVOKED: &str = "melmastoon.iam.session.revoked.v1";

/// Data of [`SESSION_REVOKED`]. Tokens issued up to the event's time are void.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRevoked {
    /// `session`, `device`, `operator` or `tenant`.
    pub kind: String,
    /// Id of that kind.
    pub id: String,
    /// Shown to the person whose session ends.
    pub reason: String,
}
