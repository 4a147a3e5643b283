//! Lock actions at the gateway: requests of a desktop, and the lock audit (gateway-api section 7). The
//! bodies of lock-integration are in [`crate::upstream::lock`].

use garde::Validate;
use serde::{Deserialize, Serialize};

use crate::clock::wire;
use crate::id::{
    AttestationId, DeviceId, KeyCredentialId, LockAuditId, LockDeviceId, OperatorId, PropertyId,
    RequestId, SessionId,
};
use crate::rules::not_blank;
use crate::text::Reason;

/// Ends a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RevokeKey {
    #[garde(skip)]
    pub key_credential_id: KeyCredentialId,
    /// For the audit.
    #[schema(value_type = String, min_length = 1, max_length = 200)]
    #[garde(custom(not_blank))]
    pub reason: Reason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[derive(strum::IntoStaticStr)]
#[strum(const_into_str, serialize_all = "snake_case")]
pub enum LockActionKind {
    IssueKey,
    RevokeKey,
}

/// `requested` stands before lock-integration is called, the others after. An `unknown` is
/// followed by a `success` or a `failure` when lock-integration could be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[derive(strum::IntoStaticStr)]
#[strum(const_into_str, serialize_all = "snake_case")]
pub enum LockActionPhase {
    Requested,
    Success,
    Failure,
    Unknown,
}

/// One row of the ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LockAuditRow {
    pub id: LockAuditId,
    /// The `requested` row of the same action; its own id on that row.
    pub action_id: LockAuditId,
    /// Place in the tenant's chain, from 1.
    pub sequence: i64,
    pub action: LockActionKind,
    pub phase: LockActionPhase,
    pub property_id: PropertyId,
    pub lock_id: LockDeviceId,
    pub operator_id: OperatorId,
    pub device_id: DeviceId,
    pub roles: Vec<String>,
    pub session_id: Option<SessionId>,
    pub request_id: RequestId,
    pub trace_id: Option<String>,
    pub idempotency_key: String,
    /// SHA-256 of the request's body, in hexadecimal.
    pub body_digest: String,
    pub mfa_attestation_id: Option<AttestationId>,
    /// What else is known: vendor, key, the code of a refusal.
    #[schema(value_type = Object)]
    pub detail: serde_json::Value,
    pub occurred_at: wire::Timestamp,
    /// SHA-256 that the next row's is made with, in hexadecimal.
    pub hash: String,
}

/// A page of the ledger, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LockAuditPage {
    pub items: Vec<LockAuditRow>,
    /// What to send as `cursor` for the page after this one; `null` on the last.
    pub next_cursor: Option<String>,
}
