//! sync: `GET /api/v1/sync/cursors?propertyId=`: how far each desktop has come. sync is the
//! authority on it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::{DeviceId, PropertyId};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SyncCursors {
    pub property_id: PropertyId,
    #[serde(with = "crate::clock::wire")]
    #[schema(value_type = String, format = DateTime)]
    pub as_of: Timestamp,
    /// By device.
    pub items: Vec<DeviceCursor>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceCursor {
    pub device_id: DeviceId,
    /// Grows with every pull that brought something.
    pub version: u64,
    #[serde(with = "crate::clock::wire")]
    #[schema(value_type = String, format = DateTime)]
    pub last_pull_at: Timestamp,
    /// Absent for a desktop that never had anything to send.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::clock::wire::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_push_at: Option<Timestamp>,
}
