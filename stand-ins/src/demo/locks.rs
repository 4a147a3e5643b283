//! Locks of the rooms, and keys of the guests in house.

use contracts::id::{LockDeviceId, PropertyId, RoomId};
use contracts::upstream::lock::{KeyKind, LockKey};
use serde::Serialize;

use super::properties::{Property, Room};
use super::reservations::Reservation;
use super::seed::{self, OPENING_DAY};

/// The lock of a room.
#[derive(Debug, Clone, Serialize)]
pub struct Lock {
    pub id: LockDeviceId,
    pub property_id: PropertyId,
    pub room_id: RoomId,
    /// The same for all locks of a property.
    pub vendor: &'static str,
}

pub(super) fn of_room(property: &Property, room: &Room) -> Lock {
    let vendor = match property.slug {
        "kabul" => "ttlock",
        "dushanbe" => "salto",
        _ => "vostio",
    };
    Lock { id: lock_id(room.id), property_id: room.property_id, room_id: room.id, vendor }
}

/// The key of a stay; `None` unless the guest is in house.
pub(super) fn of_stay(stay: &Reservation) -> Option<LockKey> {
    let room_id = stay.room_id.filter(|_| stay.is_in_house())?;
    Some(LockKey {
        key_credential_id: seed::id(stay.check_in, &format!("key/{}", stay.id)),
        lock_id: lock_id(room_id),
        reservation_id: stay.id,
        room_ids: vec![room_id],
        kind: KeyKind::RfidCard,
        valid_from: stay.arrives_at.into(),
        valid_until: stay.leaves_at.into(),
    })
}

fn lock_id(room: RoomId) -> LockDeviceId {
    seed::id(OPENING_DAY, &format!("lock/{room}"))
}
