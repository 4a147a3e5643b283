//! Attestations of a second factor: each permits one action, once, within five minutes, to the
//! operator, device and device key it was issued to (gateway-api section 4).
//!
//! A use is a row with the attestation as its key, written in the caller's transaction: single use
//! is a Postgres constraint, and a rolled-back use has not happened. [`attempts`] counts wrong
//! codes, [`watch`] finds attestations that were used twice, and [`freeze`] stops the routes then.
//! Not here: verifying the code (iam) and `POST /auth/mfa/step-up`.

use std::marker::PhantomData;

use axum::extract::FromRequestParts;
use contracts::headers::MFA_ATTESTATION;
use contracts::id::{AttestationId, Id};
use contracts::problem::code;
use contracts::safeguard;
use http::request::Parts;
use jiff::Timestamp;
use metrics::counter;
use serde::{Deserialize, Serialize};
use service_kit::postgres::StoreError;
use service_kit::problem::ApiError;

pub(crate) mod attempts;
pub(crate) mod freeze;
mod store;
pub(crate) mod watch;

pub(crate) use store::{check, consume, issue};

/// What an attestation permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = MfaScope)]
pub(crate) enum Scope {
    #[serde(rename = "folio.refund")]
    FolioRefund,
    #[serde(rename = "folio.charge")]
    FolioCharge,
    #[serde(rename = "lock.revoke")]
    LockRevoke,
}

impl Scope {
    /// As on the wire, in the store and in metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::FolioRefund => "folio.refund",
            Self::FolioCharge => "folio.charge",
            Self::LockRevoke => "lock.revoke",
        }
    }
}

/// What a second factor is requested for.
#[derive(Debug, Clone)]
pub(crate) struct Purpose {
    pub scope: Scope,
    /// Id of the one resource; any of the scope when absent.
    pub resource: Option<String>,
    /// SHA-256 of the one body it permits; any when absent.
    pub body_digest: Option<[u8; 32]>,
}

/// What was issued.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Issued {
    pub id: AttestationId,
    pub expires_at: Timestamp,
}

/// What an attestation is presented for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Use<'a> {
    pub scope: Scope,
    /// Id of what is acted on.
    pub resource: &'a str,
    /// SHA-256 of the request's body.
    pub body_digest: [u8; 32],
    /// What uses it: the idempotency key.
    pub by: &'a str,
    /// The request under that key. Both together are one use.
    pub fingerprint: [u8; 32],
    /// Whether the request resumes an unfinished one. Only then may the same use repeat; if the
    /// key's row has expired, the attestation counts as used.
    pub resumes: bool,
}

/// Why an attestation does not permit a use. The response does not reveal which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr, thiserror::Error)]
#[strum(const_into_str, serialize_all = "lowercase")]
pub enum Refused {
    #[error("the tenant has no such attestation")]
    Unknown,
    #[error("it was issued to another operator, device or key, or for something else")]
    Mismatch,
    #[error("its five minutes are over")]
    Expired,
    #[error("it was used by another request")]
    Replayed,
}

#[derive(Debug, thiserror::Error)]
pub enum ConsumeError {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ConsumeError> for ApiError {
    fn from(error: ConsumeError) -> Self {
        match error {
            ConsumeError::Refused(_) => invalid(),
            ConsumeError::Store(error) => crate::problems::unavailable(error),
        }
    }
}

fn count(scope: Scope, outcome: &'static str) {
    let scope = scope.name();
    counter!("bff_backoffice_mfa_attestation_total", "scope" => scope, "outcome" => outcome)
        .increment(1);
}

fn required(scope: Scope) -> ApiError {
    let scope = scope.name();
    ApiError::new(
        &code::MFA_REQUIRED,
        format!(
            "Ask the operator for the second factor, step up for {scope}, and send the request again with X-MFA-Attestation."
        ),
    )
}

/// One response for all reasons, so that probing other operators' attestations reveals nothing.
fn invalid() -> ApiError {
    ApiError::new(
        &code::MFA_INVALID_OR_USED,
        "The attestation does not permit this request. Ask the operator for the second factor again.",
    )
}

/// Scope that a route requires. Implemented by one unit type per scope.
pub(crate) trait MfaScope: Send + Sync {
    const SCOPE: Scope;
}

/// `folio.refund`
#[derive(Debug, Clone, Copy)]
pub(crate) struct FolioRefund;

/// `lock.revoke`
#[derive(Debug, Clone, Copy)]
pub(crate) struct LockRevoke;

impl MfaScope for FolioRefund {
    const SCOPE: Scope = Scope::FolioRefund;
}

impl MfaScope for LockRevoke {
    const SCOPE: Scope = Scope::LockRevoke;
}

/// The request's attestation, well-formed but not checked yet; [`consume`] checks it in the claim's
/// transaction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Presented<S> {
    pub id: AttestationId,
    scope: PhantomData<S>,
}

impl<S: MfaScope> Presented<S> {
    /// Placeholder while the `SecondFactorRequired` safeguard is off.
    fn missing() -> Self {
        Self { id: AttestationId::from_parts(Timestamp::UNIX_EPOCH, 1), scope: PhantomData }
    }
}

fn presented<S: MfaScope>(parts: &Parts) -> Result<Option<Presented<S>>, ApiError> {
    let mut values = parts.headers.get_all(MFA_ATTESTATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let id = value.to_str().ok().and_then(|text| text.parse().ok());
    if let (Some(id), None) = (id, values.next()) {
        return Ok(Some(Presented { id, scope: PhantomData }));
    }
    tracing::info!("X-MFA-Attestation is repeated or malformed.");
    count(S::SCOPE, Refused::Unknown.into_str());
    Err(invalid())
}

impl<T: Send + Sync, S: MfaScope> FromRequestParts<T> for Presented<S> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &T) -> Result<Self, ApiError> {
        require(presented(parts)?)
    }
}

/// Returns the attestation, or the problem that one is required.
fn require<S: MfaScope>(given: Option<Presented<S>>) -> Result<Presented<S>, ApiError> {
    match given {
        Some(given) => Ok(given),
        None if !safeguard!(SecondFactorRequired) => Ok(Presented::missing()),
        None => {
            count(S::SCOPE, "required");
            Err(required(S::SCOPE))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_has_one_name_everywhere() {
        for scope in [Scope::FolioRefund, Scope::FolioCharge, Scope::LockRevoke] {
            assert_eq!(serde_json::to_value(scope).unwrap(), scope.name());
        }
    }
}
