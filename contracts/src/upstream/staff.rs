//! staff: `GET /api/v1/staff/on-duty?propertyId=`, `GET /api/v1/staff/capacity?propertyId=`,
//! `GET /api/v1/staff/shifts?propertyId=&date=` and
//! `GET /api/v1/staff/forecast/staffing-gaps?propertyId=`.

use serde::{Deserialize, Serialize};

use crate::clock::wire;
use crate::id::{PropertyId, ShiftId, StaffId};

/// Who is on the floor now: clocked in and not out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OnDuty {
    pub property_id: PropertyId,
    pub as_of: wire::Timestamp,
    /// By name of the department.
    pub departments: Vec<DepartmentOnDuty>,
}

stamped!(OnDuty);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DepartmentOnDuty {
    pub department: String,
    /// Primary assignments of shifts that run now.
    pub scheduled: u32,
    pub present: Vec<Present>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Present {
    pub staff_id: StaffId,
    pub display_name: String,
    pub position: String,
    pub since: wire::Timestamp,
}

/// How many are on the floor now, of how many, by department and position: [`OnDuty`] without names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Capacity {
    pub property_id: PropertyId,
    pub as_of: wire::Timestamp,
    /// By name of the department.
    pub departments: Vec<DepartmentCapacity>,
}

stamped!(Capacity);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DepartmentCapacity {
    pub department: String,
    /// By name of the position.
    pub positions: Vec<PositionCapacity>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PositionCapacity {
    pub position: String,
    /// People that the shifts which run now need.
    pub required: u32,
    /// Primary assignments of those shifts.
    pub scheduled: u32,
    /// Clocked in and not out, on a shift or not.
    pub present: u32,
}

/// The shifts that begin on a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Shifts {
    pub property_id: PropertyId,
    /// IANA name.
    pub time_zone: String,
    pub as_of: wire::Timestamp,
    /// In the property's time zone.
    pub date: wire::Date,
    /// By department, then start.
    pub shifts: Vec<Shift>,
}

stamped!(Shifts, time_zone);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ShiftStatus {
    Scheduled,
    InProgress,
    Completed,
    Cancelled,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Shift {
    pub shift_id: ShiftId,
    pub department: String,
    pub position: String,
    pub starts_at: wire::Timestamp,
    pub ends_at: wire::Timestamp,
    pub status: ShiftStatus,
    /// People it needs.
    pub required: u32,
    /// Primaries first, then by name.
    pub assigned: Vec<Assigned>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AssignmentKind {
    Primary,
    /// Comes when a primary does not.
    Standby,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Assigned {
    pub staff_id: StaffId,
    pub display_name: String,
    pub kind: AssignmentKind,
}

/// Where the plan of the next 24 hours has too few people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StaffingGaps {
    pub property_id: PropertyId,
    pub as_of: wire::Timestamp,
    /// Whether this is the plan alone, without ai-orchestrator's forecast of who will be needed.
    pub degraded: bool,
    /// By name of the department.
    pub departments: Vec<DepartmentStaffing>,
}

stamped!(StaffingGaps);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DepartmentStaffing {
    pub department: String,
    /// The current one and the next 23, in order.
    pub hours: Vec<StaffedHour>,
}

/// One hour of the property's clock. A shift counts in every hour that it touches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StaffedHour {
    pub starts_at: wire::Timestamp,
    /// People that the shifts need.
    pub required: u32,
    /// Primary assignments of people who work here and are not on leave.
    pub scheduled: u32,
    /// What each shift lacks, added up: one with too many does not help another.
    pub missing: u32,
}
