//! sync: how far each desktop has come. sync is the authority on it.
//!
//! `GET /api/v1/sync/cursors?propertyId=` → [`SyncCursors`]; `POST /api/v1/sync/handshake` of a
//! [`HandshakeRequest`] → [`Handshake`], 410 [`CURSOR_EXPIRED`]; the device is the caller's. For the
//! gateway itself, for no operator: `GET /api/v1/sync/tenants/{tenantId}/cursors?propertyId=` →
//! [`SyncCursors`].

use garde::Validate;
use serde::{Deserialize, Serialize};

use crate::clock::wire;
use crate::id::{DeviceId, PropertyId};

/// Code of sync's 410: what the desktop lacks is not kept any more.
pub const CURSOR_EXPIRED: &str = "MELMASTOON.SYNC.CURSOR_EXPIRED";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SyncCursors {
    pub property_id: PropertyId,
    pub as_of: wire::Timestamp,
    /// By device.
    pub items: Vec<DeviceCursor>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceCursor {
    pub device_id: DeviceId,
    /// Grows with every pull that brought something.
    pub version: u64,
    pub last_pull_at: wire::Timestamp,
    /// Absent for a desktop that never had anything to send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_push_at: Option<wire::Timestamp>,
}

/// Where the desktop stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HandshakeRequest {
    /// Version of the last pull it has whole; absent: it has nothing and pulls everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub cursor_version: Option<u64>,
}

/// From where the desktop goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Handshake {
    /// Where the desktop stands in the house.
    pub property_id: PropertyId,
    pub cursor: DeviceCursor,
    /// Where it pulls from; not through the gateway.
    pub pull_url: String,
    /// Where it pushes to; not through the gateway.
    pub push_url: String,
    /// Whether it must forget what it has and pull everything.
    pub full_resync: bool,
}
