//! maintenance: `GET /api/v1/maintenance/summary?propertyId=` and
//! `GET /api/v1/maintenance/board?propertyId=`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use strum::VariantArray;
use utoipa::ToSchema;

use crate::clock::wire;
use crate::id::{PropertyId, RoomId, StaffId, WorkOrderId};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[derive(VariantArray)]
pub enum WorkOrderState {
    Open,
    Assigned,
    InProgress,
    /// Waits for a part, a vendor or the guest.
    Blocked,
    Resolved,
    /// Seen to be mended by someone else: final.
    Verified,
    /// Final.
    Cancelled,
}

impl WorkOrderState {
    /// In the order of the board's columns.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// Whether the fault is still there.
    pub fn is_pending(self) -> bool {
        matches!(self, Self::Open | Self::Assigned | Self::InProgress | Self::Blocked)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[derive(VariantArray)]
pub enum WorkOrderSeverity {
    Low,
    Normal,
    High,
    Critical,
}

impl WorkOrderSeverity {
    pub const ALL: &[Self] = Self::VARIANTS;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum WorkOrderCategory {
    Plumbing,
    Electrical,
    Hvac,
    Lock,
    Generator,
    Water,
    Structural,
    It,
    Other,
}

/// Today's work in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MaintenanceSummary {
    pub property_id: PropertyId,
    pub as_of: wire::Timestamp,
    /// Pending work orders, and those that ended since local midnight; every state is present.
    pub states: BTreeMap<WorkOrderState, u32>,
    /// Pending ones; every severity is present.
    pub pending_by_severity: BTreeMap<WorkOrderSeverity, u32>,
    /// Pending ones whose `dueAt` has passed.
    pub overdue: u32,
    /// Rooms that cannot be sold until their work order ends, by number.
    pub rooms_out_of_order: Vec<RoomOutOfOrder>,
}

stamped!(MaintenanceSummary);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoomOutOfOrder {
    pub room_id: RoomId,
    /// As painted on the door.
    pub number: String,
    pub work_order_id: WorkOrderId,
    /// When it is to be back.
    pub due_at: wire::Timestamp,
}

/// The work orders of [`MaintenanceSummary::states`], one by one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MaintenanceBoard {
    pub property_id: PropertyId,
    pub as_of: wire::Timestamp,
    /// One per state, in the order a work order passes through them.
    pub columns: Vec<MaintenanceColumn>,
}

stamped!(MaintenanceBoard);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MaintenanceColumn {
    pub state: WorkOrderState,
    /// The most severe first, of those the one that is due first.
    pub items: Vec<WorkOrder>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkOrder {
    pub work_order_id: WorkOrderId,
    pub state: WorkOrderState,
    pub severity: WorkOrderSeverity,
    pub category: WorkOrderCategory,
    /// At most 140 characters.
    pub title: String,
    /// Absent for what is not in a room.
    pub room_id: Option<RoomId>,
    /// As painted on the door.
    pub room_number: Option<String>,
    /// Whether the room cannot be sold until this ends.
    pub room_out_of_order: bool,
    pub assigned_to: Option<StaffId>,
    pub reported_at: wire::Timestamp,
    pub due_at: wire::Timestamp,
    /// When it came into this state.
    pub since: wire::Timestamp,
}
