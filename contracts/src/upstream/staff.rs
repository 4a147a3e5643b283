//! staff: `GET /api/v1/staff/on-duty?propertyId=`, `GET /api/v1/staff/capacity?propertyId=`,
//! `GET /api/v1/staff/shifts?propertyId=&date=` and
//! `GET /api/v1/staff/forecast/staffing-gaps?propertyId=`.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::id::{PropertyId, ShiftId, StaffId};

/// Who is on the floor now: clocked in and not out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OnDuty {
    pub property_id: PropertyId,
    #[serde(with = "crate::clock::wire")]
    pub as_of: Timestamp,
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
    #[serde(with = "crate::clock::wire")]
    pub since: Timestamp,
}

/// How many are on the floor now, of how many, by department and position: [`OnDuty`] without names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Capacity {
    pub property_id: PropertyId,
    #[serde(with = "crate::clock::wire")]
    pub as_of: Timestamp,
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
    #[serde(with = "crate::clock::wire")]
    pub as_of: Timestamp,
    /// In the property's time zone.
    #[serde(deserialize_with = "crate::clock::wire_date")]
    pub date: Date,
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
    #[serde(with = "crate::clock::wire")]
    pub starts_at: Timestamp,
    #[serde(with = "crate::clock::wire")]
    pub ends_at: Timestamp,
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
    #[serde(with = "crate::clock::wire")]
    pub as_of: Timestamp,
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
    #[serde(with = "crate::clock::wire")]
    pub starts_at: Timestamp,
    /// People that the shifts need.
    pub required: u32,
    /// Primary assignments of people who work here and are not on leave.
    pub scheduled: u32,
    /// What each shift lacks, added up: one with too many does not help another.
    pub missing: u32,
}
