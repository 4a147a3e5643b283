//! lock-integration: keys of doors, and what became of a request to make or end one.
//!
//! `GET /api/v1/locks/{lockId}` → [`LockDevice`]; `POST /api/v1/locks/{lockId}/keys` → 201
//! [`IssuedKey`]; `POST /api/v1/locks/{lockId}/keys/{keyCredentialId}/revoke` → [`RevokedKey`];
//! `GET /api/v1/locks/keys?propertyId=` → [`LockKeys`]. For the gateway itself, for no operator:
//! `GET /api/v1/locks/operations/{idempotencyKey}?tenantId=` → [`LockOperation`], 404
//! `GENERAL.RESOURCE_NOT_FOUND` when nothing was done under the key.

use garde::Validate;
use serde::{Deserialize, Serialize};

use crate::clock::wire;
use crate::id::{GuestId, KeyCredentialId, LockDeviceId, PropertyId, ReservationId, RoomId};
use crate::locks::LockActionKind;
use crate::phone::PhoneNumber;
use crate::rules::not_blank;
use crate::text::{Reason, Text};

/// A lock at a door.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LockDevice {
    pub lock_id: LockDeviceId,
    pub property_id: PropertyId,
    pub room_id: RoomId,
    /// Whose lock it is: `ttlock`, `salto` …
    pub vendor: Text<64>,
}

/// What a key can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyKind {
    MobileApp,
    PinCode,
    RfidCard,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    Active,
    Revoked,
}

/// A key for a guest. The lock's own room must be among the rooms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct IssueKeyRequest {
    pub reservation_id: ReservationId,
    /// Every room the key opens.
    pub room_ids: Vec<RoomId>,
    pub valid_from: wire::Timestamp,
    /// From here on it opens nothing.
    pub valid_until: wire::Timestamp,
    /// The first that the lock takes is made.
    pub preferred_kinds: Vec<KeyKind>,
    #[garde(dive)]
    pub guest: KeyHolder,
}

/// Who gets the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct KeyHolder {
    pub id: GuestId,
    /// 1 to 200 characters.
    #[schema(value_type = String, min_length = 1, max_length = 200)]
    pub display_name: Text<200>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(dive)]
    pub contact: Option<Contact>,
}

/// Where a mobile key or a code is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Contact {
    /// E.164, with its plus sign.
    #[serde(rename = "phoneE164", default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, pattern = "^\\+[1-9][0-9]{0,14}$", example = "+93205550114")]
    #[garde(skip)]
    pub phone_e164: Option<PhoneNumber>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct IssuedKey {
    pub key_credential_id: KeyCredentialId,
    pub lock_id: LockDeviceId,
    pub property_id: PropertyId,
    pub reservation_id: ReservationId,
    pub room_ids: Vec<RoomId>,
    pub kind: KeyKind,
    pub state: KeyState,
    pub vendor: String,
    pub valid_from: wire::Timestamp,
    pub valid_until: wire::Timestamp,
    pub issued_at: wire::Timestamp,
}

/// Body of lock-integration's revocation; the key is in its path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RevokeKeyRequest {
    /// For the audit.
    #[garde(custom(not_blank))]
    pub reason: Reason,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevokedKey {
    pub key_credential_id: KeyCredentialId,
    pub lock_id: LockDeviceId,
    pub property_id: PropertyId,
    pub state: KeyState,
    pub vendor: String,
    pub revoked_at: wire::Timestamp,
}

/// What was done under an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LockOperation {
    pub idempotency_key: String,
    pub action: LockActionKind,
    pub lock_id: LockDeviceId,
    pub key_credential_id: KeyCredentialId,
    pub vendor: String,
    pub done_at: wire::Timestamp,
}

/// The keys of a property that open a door now or later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LockKeys {
    pub property_id: PropertyId,
    pub as_of: wire::Timestamp,
    pub items: Vec<LockKey>,
}

stamped!(LockKeys);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LockKey {
    pub key_credential_id: KeyCredentialId,
    pub lock_id: LockDeviceId,
    pub reservation_id: ReservationId,
    pub room_ids: Vec<RoomId>,
    pub kind: KeyKind,
    pub valid_from: wire::Timestamp,
    pub valid_until: wire::Timestamp,
}
