//! inventory: `GET /api/v1/inventory/properties/{id}/availability?from=&to=` and
//! `GET /api/v1/inventory/properties/{id}/calendar?from=&to=`.

use serde::{Deserialize, Serialize};

use crate::clock::wire;
use crate::id::{AllocationId, InventoryBlockId, PropertyId, ReservationId, RoomId, RoomTypeId};

/// Rooms by type and night. `from` defaults to today in the property's time zone, `to` to 14 nights later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Availability {
    pub property_id: PropertyId,
    /// IANA name.
    pub time_zone: String,
    pub as_of: wire::Timestamp,
    /// First night.
    pub from: wire::Date,
    /// The day after the last night.
    pub to: wire::Date,
    pub room_types: Vec<RoomTypeAvailability>,
}

stamped!(Availability, time_zone);

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
    pub date: wire::Date,
    pub total: u32,
    pub held: u32,
    pub committed: u32,
    pub oos_blocked: u32,
    /// What can still be sold, overbooking included; 0 under stop-sell.
    pub available: u32,
    pub stop_sell: bool,
}

/// The grid of room type and night, and who has which room. `from` and `to` as in [`Availability`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Calendar {
    pub property_id: PropertyId,
    /// IANA name.
    pub time_zone: String,
    pub as_of: wire::Timestamp,
    /// First night.
    pub from: wire::Date,
    /// The day after the last night.
    pub to: wire::Date,
    pub room_types: Vec<RoomTypeAvailability>,
    /// By number.
    pub rooms: Vec<CalendarRoom>,
    /// Live ones that share a night with the window, by first night; past it they are whole.
    pub stays: Vec<CalendarStay>,
    /// Those in force that share a night with the window, by first night; past it they are whole.
    pub blocks: Vec<CalendarBlock>,
}

stamped!(Calendar, time_zone);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CalendarRoom {
    pub room_id: RoomId,
    pub room_type_id: RoomTypeId,
    /// As painted on the door.
    pub number: String,
}

/// What a room is held by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StayStatus {
    /// Until `holdExpiresAt`.
    Held,
    Confirmed,
    CheckedIn,
}

/// A stay of the nights `[checkIn, checkOut)`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CalendarStay {
    pub allocation_id: AllocationId,
    /// What was sold; the room may be of a better type.
    pub room_type_id: RoomTypeId,
    /// Absent until one is assigned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room_id: Option<RoomId>,
    /// Absent for a hold that no reservation was made from yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reservation_id: Option<ReservationId>,
    pub check_in: wire::Date,
    pub check_out: wire::Date,
    pub status: StayStatus,
    /// Of a hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_expires_at: Option<wire::Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BlockKind {
    /// Of a room: it cannot be used.
    OutOfOrder,
    /// Of a room: it could be used and is not sold.
    OutOfService,
    /// Of a room type, or of the whole property.
    StopSell,
}

/// Why something is not for sale in the nights `[from, to)`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CalendarBlock {
    pub block_id: InventoryBlockId,
    pub kind: BlockKind,
    /// Absent for a stop-sell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room_id: Option<RoomId>,
    /// Absent for a stop-sell of the whole property.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room_type_id: Option<RoomTypeId>,
    pub from: wire::Date,
    pub to: wire::Date,
    pub reason: String,
}
