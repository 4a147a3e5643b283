//! inventory: `GET /api/v1/inventory/properties/{id}/availability?from=&to=`.

use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};

use crate::id::{PropertyId, RoomTypeId};

/// Rooms by type and night. `from` defaults to today in the property's time zone, `to` to 14 nights later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Availability {
    pub property_id: PropertyId,
    /// IANA name.
    pub time_zone: String,
    #[serde(with = "crate::clock::wire")]
    #[schema(value_type = String, format = DateTime)]
    pub as_of: Timestamp,
    /// First night.
    #[schema(value_type = String, format = Date)]
    pub from: Date,
    /// The day after the last night.
    #[schema(value_type = String, format = Date)]
    pub to: Date,
    pub room_types: Vec<RoomTypeAvailability>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoomTypeAvailability {
    pub room_type_id: RoomTypeId,
    pub name: String,
    /// One per night, in order, none missing.
    pub nights: Vec<NightAvailability>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NightAvailability {
    #[schema(value_type = String, format = Date)]
    pub date: Date,
    pub total: u32,
    pub held: u32,
    pub committed: u32,
    pub oos_blocked: u32,
    /// What can still be sold, overbooking included; 0 under stop-sell.
    pub available: u32,
    pub stop_sell: bool,
}
