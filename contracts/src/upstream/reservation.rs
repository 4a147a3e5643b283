//! reservation: `GET /api/v1/reservations/arrivals?propertyId=&date=`, `…/departures` and `…/in-house`;
//! `POST /api/v1/reservations/{id}/check-in` → [`CheckedIn`].

use garde::Validate;

use serde::{Deserialize, Serialize};

use crate::clock::wire;
use crate::id::{PropertyId, ReservationId, RoomId};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReservationState {
    Quoted,
    Held,
    Confirmed,
    CheckedIn,
    InHouse,
    CheckedOut,
    Cancelled,
    NoShow,
    ExpiredHold,
}

impl ReservationState {
    /// Whether the guest has come, and perhaps gone again.
    pub fn has_arrived(self) -> bool {
        matches!(self, Self::CheckedIn | Self::InHouse | Self::CheckedOut)
    }
}

/// The stays of a day: who arrives, who leaves, or who sleeps here. `date` defaults to today in the
/// property's time zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stays {
    pub property_id: PropertyId,
    pub date: wire::Date,
    pub as_of: wire::Timestamp,
    pub items: Vec<Stay>,
}

stamped!(Stays);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stay {
    pub reservation_id: ReservationId,
    /// What guest and desk call it: `GM-XXXXXX`.
    pub code: String,
    pub guest_name: String,
    pub room_id: Option<RoomId>,
    pub room_number: Option<String>,
    pub check_in: wire::Date,
    pub check_out: wire::Date,
    pub adults: u8,
    pub state: ReservationState,
    /// When the guest said to come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta: Option<wire::Timestamp>,
}

/// Body of a check-in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CheckInRequest {
    /// The room, where the reservation has none or another is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub room_id: Option<RoomId>,
}

/// The reservation is in house.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckedIn {
    pub reservation_id: ReservationId,
    pub state: ReservationState,
    pub room_id: RoomId,
    pub checked_in_at: wire::Timestamp,
}
