//! Sync cursors at the gateway (gateway-api section 4). sync-service is the authority; its bodies are in
//! [`crate::upstream::sync`].

use garde::Validate;
use serde::{Deserialize, Serialize};

use crate::clock::wire;
use crate::id::DeviceId;

/// The largest version, which is the largest integer that every JSON parser reads exactly.
pub const LARGEST_VERSION: u64 = (1 << 53) - 1;

/// How far a desktop has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SyncCursor {
    /// Grows with every pull that brought something.
    pub version: u64,
    /// When that pull was.
    pub at: wire::Timestamp,
}

/// What the gateway last heard of the desktop's cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CachedCursor {
    pub device_id: DeviceId,
    /// Null for a desktop that never shook hands.
    pub cursor: Option<SyncCursor>,
    /// Whether sync-service is known to say otherwise. Shake hands to be told.
    pub stale: bool,
}

/// A pull that the desktop has whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Validate, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AdvanceCursor {
    #[schema(maximum = 9_007_199_254_740_991_i64)]
    #[garde(range(max = LARGEST_VERSION))]
    pub version: u64,
}

/// Where the desktop stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Validate, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HandshakeBody {
    /// `cursor.version` of the last pull it has whole; leave it out to pull everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 9_007_199_254_740_991_i64)]
    #[garde(range(max = LARGEST_VERSION))]
    pub cursor_version: Option<u64>,
}

/// From where the desktop goes on, and with what.
#[derive(Clone, PartialEq, Eq, derive_more::Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[debug("SyncSession {{ cursor: {cursor:?}, .. }}")]
#[serde(rename_all = "camelCase")]
pub struct SyncSession {
    /// For `pullUrl` and `pushUrl` alone: `Authorization: DPoP <token>` with a proof by the desktop's
    /// own key.
    pub sync_session_token: String,
    /// When the token ends; shake hands again to go on.
    pub expires_at: wire::Timestamp,
    /// sync-service's own word.
    pub cursor: SyncCursor,
    pub pull_url: String,
    pub push_url: String,
    /// Whether the desktop must forget what it has and pull everything.
    pub full_resync: bool,
}
