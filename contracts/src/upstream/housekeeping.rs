//! housekeeping: `GET /api/v1/housekeeping/summary?propertyId=`,
//! `GET /api/v1/housekeeping/board?propertyId=`,
//! `GET /api/v1/housekeeping/rooms/status?propertyId=` and
//! `GET|POST /api/v1/housekeeping/rooms/{id}/status`.

use std::collections::BTreeMap;

use garde::Validate;
use serde::{Deserialize, Serialize};
use strum::VariantArray;
use utoipa::ToSchema;

use crate::clock::wire;
use crate::id::{HousekeepingTaskId, PropertyId, RoomId, StaffId};
use crate::rules::not_blank;
use crate::text::Reason;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[derive(strum::IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum RoomStatus {
    Dirty,
    Cleaning,
    Clean,
    Inspected,
    Ready,
    OutOfOrder,
    OutOfService,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[derive(strum::IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum TaskStatus {
    Pending,
    Assigned,
    InProgress,
    Paused,
    Completed,
    Failed,
    Cancelled,
}

impl RoomStatus {
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The name on the wire and in the database.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl TaskStatus {
    pub const ALL: &[Self] = Self::VARIANTS;
}

/// One room and how often its status changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OneRoomStatus {
    pub room_id: RoomId,
    pub property_id: PropertyId,
    pub status: RoomStatus,
    pub since: wire::Timestamp,
    /// 0 for a room that nobody touched yet; the `ETag` is `"v=<version>"`.
    pub version: u32,
}

/// A flip by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FlipRoomStatus {
    #[garde(skip)]
    pub status: RoomStatus,
    /// For the audit.
    #[schema(value_type = String, min_length = 1, max_length = 200)]
    #[garde(custom(not_blank))]
    pub reason: Reason,
}

/// Today's work in numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    pub property_id: PropertyId,
    pub as_of: wire::Timestamp,
    /// Tasks finished on the property's day and all open ones; every status is present.
    pub tasks: BTreeMap<TaskStatus, u32>,
    /// Open tasks of priority `urgent`.
    pub urgent_open: u32,
    /// Unfinished turnovers of rooms that a guest is expected in within 90 minutes.
    pub pending_tasks_at_arrival_window: u32,
    /// Median minutes from check-out to ready today; absent when no room got ready today.
    pub time_to_ready_minutes: Option<f64>,
}

stamped!(Summary);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoomStatuses {
    pub property_id: PropertyId,
    pub as_of: wire::Timestamp,
    /// Every status is present.
    pub counts: BTreeMap<RoomStatus, u32>,
    /// By floor, then number.
    pub rooms: Vec<RoomState>,
}

stamped!(RoomStatuses);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoomState {
    pub room_id: RoomId,
    /// As painted on the door.
    pub number: String,
    pub floor: i32,
    pub status: RoomStatus,
    pub since: wire::Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    Turnover,
    MidStayClean,
    DeepClean,
    PostMaintenance,
    PostRenovation,
    Inspection,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskPriority {
    Low,
    Normal,
    High,
    Urgent,
}

/// Every room in the column of its status, with what is to be done in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Board {
    pub property_id: PropertyId,
    pub as_of: wire::Timestamp,
    /// As in [`Summary`].
    pub pending_tasks_at_arrival_window: u32,
    /// As in [`Summary`].
    pub time_to_ready_minutes: Option<f64>,
    /// Minutes until clean linen runs out; absent where linen is not counted.
    pub linen_runway_minutes: Option<f64>,
    /// One per status, in the order of the work, none missing.
    pub columns: Vec<BoardColumn>,
}

stamped!(Board);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BoardColumn {
    pub status: RoomStatus,
    /// By floor, then number.
    pub rooms: Vec<BoardRoom>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BoardRoom {
    pub room_id: RoomId,
    /// As painted on the door.
    pub number: String,
    pub floor: i32,
    /// When it took its status.
    pub since: wire::Timestamp,
    /// The earliest guest known to be expected; overdue while the turnover is unfinished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_arrival_at: Option<wire::Timestamp>,
    /// How many are open, the one in `task` included.
    pub open_tasks: u32,
    /// The most pressing of the open ones: by priority, then age.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<BoardTask>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BoardTask {
    pub task_id: HousekeepingTaskId,
    pub kind: TaskKind,
    pub priority: TaskPriority,
    pub status: TaskStatus,
    /// Absent while nobody has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assigned_to: Option<StaffId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled_for: Option<wire::Timestamp>,
}
