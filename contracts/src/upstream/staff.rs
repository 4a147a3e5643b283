//! staff: `GET /api/v1/staff/on-duty?propertyId=`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::{PropertyId, StaffId};

/// Who is on the floor now: clocked in and not out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OnDuty {
    pub property_id: PropertyId,
    #[serde(with = "crate::clock::wire")]
    #[schema(value_type = String, format = DateTime)]
    pub as_of: Timestamp,
    /// By name of the department.
    pub departments: Vec<DepartmentOnDuty>,
}

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
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
}
