//! Inventory of the reservations: allocations, blocks, and the counts of every night.

use contracts::id::{
    AllocationId, InventoryBlockId, PropertyId, ReservationId, ReservationItemId, RoomId,
    RoomTypeId, TenantId,
};
use contracts::upstream::reservation::ReservationState;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;

use super::properties::{Closed, Property, Room, RoomType};
use super::reservations::Reservation;
use super::seed::{self, OPENING_DAY, plus_days};
use super::{FUTURE_DAYS, PAST_DAYS};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AllocationState {
    Held,
    Confirmed,
    CheckedIn,
    CheckedOut,
    Released,
    Expired,
}

/// One room of one type for the nights `[check_in, check_out)`.
#[derive(Debug, Clone, Serialize)]
pub struct Allocation {
    pub id: AllocationId,
    pub tenant_id: TenantId,
    pub property_id: PropertyId,
    pub room_type_id: RoomTypeId,
    pub room_id: Option<RoomId>,
    pub reservation_id: ReservationId,
    pub reservation_item_id: ReservationItemId,
    pub check_in: Date,
    pub check_out: Date,
    pub state: AllocationState,
    pub created_at: Timestamp,
    /// When a hold expires.
    pub expires_at: Option<Timestamp>,
}

pub(super) fn allocation(of: &Reservation) -> Allocation {
    let state = allocation_state(of.state);
    Allocation {
        id: of.allocation_id,
        tenant_id: of.tenant_id,
        property_id: of.property_id,
        room_type_id: of.room_type_id,
        room_id: of.room_id,
        reservation_id: of.id,
        reservation_item_id: of.item_id,
        check_in: of.check_in,
        check_out: of.check_out,
        state,
        created_at: of.booked_at,
        expires_at: (state == AllocationState::Held).then_some(of.arrives_at),
    }
}

fn allocation_state(state: ReservationState) -> AllocationState {
    match state {
        ReservationState::Quoted | ReservationState::Held => AllocationState::Held,
        ReservationState::Confirmed => AllocationState::Confirmed,
        ReservationState::CheckedIn | ReservationState::InHouse => AllocationState::CheckedIn,
        ReservationState::CheckedOut => AllocationState::CheckedOut,
        ReservationState::Cancelled | ReservationState::NoShow => AllocationState::Released,
        ReservationState::ExpiredHold => AllocationState::Expired,
    }
}

/// A room that is not for sale.
#[derive(Debug, Clone, Serialize)]
pub struct Block {
    pub id: InventoryBlockId,
    pub tenant_id: TenantId,
    pub property_id: PropertyId,
    pub room_type_id: RoomTypeId,
    pub room_id: RoomId,
    pub from: Date,
    pub to: Date,
    pub reason: &'static str,
}

pub(super) fn blocks(property: &Property, rooms: &[Room], now: Timestamp) -> Vec<Block> {
    let (from, to) = window(property.today(now));
    let own = rooms.iter().filter(|room| room.property_id == property.id);
    own.filter(|room| room.closed == Some(Closed::OutOfOrder))
        .map(|room| Block {
            id: seed::id(OPENING_DAY, &format!("{}/{}", property.slug, room.number)),
            tenant_id: room.tenant_id,
            property_id: room.property_id,
            room_type_id: room.room_type_id,
            room_id: room.id,
            from,
            to,
            reason: "Water damage behind the bathroom wall; the plumber is on it.",
        })
        .collect()
}

/// Counts of one room type and night.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Night {
    pub tenant_id: TenantId,
    pub property_id: PropertyId,
    pub room_type_id: RoomTypeId,
    pub date: Date,
    pub total: u32,
    pub held: u32,
    pub committed: u32,
    pub oos_blocked: u32,
}

pub(super) fn nights(
    property: &Property,
    room_type: &RoomType,
    rooms: &[Room],
    reservations: &[Reservation],
    now: Timestamp,
) -> Vec<Night> {
    let rooms = rooms.iter().filter(|room| room.room_type_id == room_type.id);
    let (closed, open): (Vec<_>, Vec<_>) =
        rooms.partition(|room| room.closed == Some(Closed::OutOfOrder));
    let stays = reservations.iter().filter(|stay| stay.room_type_id == room_type.id);
    let live: Vec<_> = stays.filter(|stay| stay.is_live()).collect();
    let (from, to) = window(property.today(now));
    let days = from.series(jiff::Span::new().days(1)).take_while(|day| *day < to);
    days.map(|date| {
        let sold: Vec<_> = live.iter().filter(|stay| stay.spends(date)).collect();
        let held = sold.iter().filter(|stay| stay.state == ReservationState::Held).count();
        Night {
            tenant_id: property.tenant_id,
            property_id: property.id,
            room_type_id: room_type.id,
            date,
            total: (open.len() + closed.len()) as u32,
            held: held as u32,
            committed: (sold.len() - held) as u32,
            oos_blocked: closed.len() as u32,
        }
    })
    .collect()
}

fn window(today: Date) -> (Date, Date) {
    (plus_days(today, -PAST_DAYS), plus_days(today, FUTURE_DAYS))
}
