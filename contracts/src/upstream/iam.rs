//! iam: RFC 6749 token answers, DPoP-bound (RFC 9449 section 5), and what it does for the gateway:
//!
//! - `POST /api/v1/auth/refresh`, called by the gateway itself: [`RefreshRequest`] → [`TokenResponse`];
//! - `POST /api/v1/auth/sign-out`, as the operator: [`SignOutRequest`] → 204;
//! - `POST /api/v1/auth/mfa/attest`, as the operator: [`AttestRequest`] → [`Attested`].

use garde::Validate;
use serde::{Deserialize, Serialize};

use crate::clock::wire;
use crate::id::{DeviceId, SessionId};

/// Answer of `POST /oauth2/token`.
#[derive(Clone, PartialEq, Eq, derive_more::Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[debug("TokenResponse {{ expires_in: {expires_in:?}, .. }}")]
pub struct TokenResponse {
    pub access_token: String,
    /// `DPoP`
    pub token_type: String,
    /// Seconds.
    pub expires_in: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
}

/// The gateway has verified the proof and says whose key made it: a refresh token is bound to that
/// key and to the device.
#[derive(Clone, PartialEq, Eq, derive_more::Debug, Serialize, Deserialize, Validate)]
#[debug("RefreshRequest {{ device_id: {device_id:?}, .. }}")]
#[serde(rename_all = "camelCase")]
#[garde(allow_unvalidated)]
pub struct RefreshRequest {
    pub refresh_token: String,
    /// RFC 7638 thumbprint of the proof's key.
    pub jkt: String,
    pub device_id: DeviceId,
}

/// Ends a session of the caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate)]
#[serde(rename_all = "camelCase")]
pub struct SignOutRequest {
    #[garde(skip)]
    pub session_id: SessionId,
}

/// How the second factor is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum MfaMethod {
    /// RFC 6238, six digits, 30 seconds.
    Totp,
}

/// The caller's second factor, to be checked once.
#[derive(Clone, PartialEq, Eq, derive_more::Debug, Serialize, Deserialize, Validate)]
#[debug("AttestRequest {{ method: {method:?}, .. }}")]
#[serde(rename_all = "camelCase")]
#[garde(allow_unvalidated)]
pub struct AttestRequest {
    pub method: MfaMethod,
    pub code: String,
}

/// The factor was right. A wrong or used code is 401 `IAM.MFA_CODE_INVALID`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attested {
    pub verified_at: wire::Timestamp,
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
    /// Shown to the person whose session ends. An event without one is carried out too.
    #[serde(default)]
    pub reason: String,
}
