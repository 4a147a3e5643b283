//! Locks of the rooms, and keys of the guests in house.

use contracts::id::{KeyCredentialId, LockDeviceId, PropertyId, ReservationId, RoomId, TenantId};
use contracts::upstream::lock::KeyKind;
use jiff::Timestamp;
use serde::Serialize;

use super::properties::{Property, Room};
use super::reservations::Reservation;
use super::seed::{self, OPENING_DAY};

/// The lock of a room.
#[derive(Debug, Clone, Serialize)]
pub struct Lock {
    pub id: LockDeviceId,
    pub tenant_id: TenantId,
    pub property_id: PropertyId,
    pub room_id: RoomId,
    /// The same for all locks of a property.
    pub vendor: &'static str,
}

/// A guest's key for a room.
#[derive(Debug, Clone, Serialize)]
pub struct RoomKey {
    pub id: KeyCredentialId,
    pub property_id: PropertyId,
    pub reservation_id: ReservationId,
    pub room_id: RoomId,
    pub kind: KeyKind,
    pub valid_from: Timestamp,
    pub valid_until: Timestamp,
}

pub(super) fn of_room(property: &Property, room: &Room) -> Lock {
    let vendor = match property.slug {
        "kabul" => "ttlock",
        "dushanbe" => "salto",
        _ => "vostio",
    };
    Lock {
        id: seed::id(OPENING_DAY, &format!("lock/{}", room.id)),
        tenant_id: room.tenant_id,
        property_id: room.property_id,
        room_id: room.id,
        vendor,
    }
}

/// The key of a stay; `None` unless the guest is in house.
pub(super) fn of_stay(stay: &Reservation) -> Option<RoomKey> {
    let room_id = stay.room_id.filter(|_| stay.is_in_house())?;
    Some(RoomKey {
        id: seed::id(stay.check_in, &format!("key/{}", stay.id)),
        property_id: stay.property_id,
        reservation_id: stay.id,
        room_id,
        kind: KeyKind::RfidCard,
        valid_from: stay.arrives_at,
        valid_until: stay.leaves_at,
    })
}
