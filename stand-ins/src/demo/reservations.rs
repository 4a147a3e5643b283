//! Reservations. The stays of a room are computed from the room and the calendar alone, so they never
//! overlap, and tomorrow's data has the same reservations as today's.

use contracts::id::{
    AllocationId, PropertyId, ReservationId, ReservationItemId, RoomId, RoomTypeId, TenantId,
};
use contracts::money::Money;
use contracts::upstream::reservation::ReservationState;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;

use super::properties::{Property, Room, RoomType};
use super::seed::{self, OPENING_DAY, between, chance, days_between, plus_days, plus_minutes};
use super::{FUTURE_DAYS, PAST_DAYS, names, rates};

/// A stay of the nights `[check_in, check_out)`, local dates.
#[derive(Debug, Clone, Serialize)]
pub struct Reservation {
    pub id: ReservationId,
    pub item_id: ReservationItemId,
    pub allocation_id: AllocationId,
    pub tenant_id: TenantId,
    pub property_id: PropertyId,
    pub room_type_id: RoomTypeId,
    /// `None` until a room is assigned.
    pub room_id: Option<RoomId>,
    /// `GM-XXXXXX`
    pub code: String,
    pub guest_name: String,
    pub adults: u8,
    pub check_in: Date,
    pub check_out: Date,
    pub state: ReservationState,
    pub booked_at: Timestamp,
    /// Expected or actual arrival.
    pub arrives_at: Timestamp,
    /// Expected or actual departure.
    pub leaves_at: Timestamp,
    /// For the whole stay.
    pub total: Money,
}

impl Reservation {
    /// Whether it occupies a room: not cancelled, expired or a no-show.
    pub fn is_live(&self) -> bool {
        use ReservationState::{Cancelled, ExpiredHold, NoShow};
        !matches!(self.state, Cancelled | NoShow | ExpiredHold)
    }

    /// Whether the guest is in house.
    pub fn is_in_house(&self) -> bool {
        matches!(self.state, ReservationState::CheckedIn | ReservationState::InHouse)
    }

    pub fn spends(&self, night: Date) -> bool {
        self.check_in <= night && night < self.check_out
    }
}

/// Stays of a room are computed in blocks of this many days, between which no stay extends. Each room
/// has its own offset, so that the hotel is never empty.
const BLOCK_DAYS: i64 = 14;

/// The stays of one room around `now`, in order.
pub(super) fn of_room(
    property: &Property,
    room_type: &RoomType,
    room: &Room,
    now: Timestamp,
) -> Vec<Reservation> {
    if room.closed.is_some() {
        return Vec::new();
    }
    let today = property.today(now);
    let (from, to) = (plus_days(today, -PAST_DAYS), plus_days(today, FUTURE_DAYS));
    let label = format!("{}/{}", property.slug, room.number);
    let offset = between(&format!("offset/{label}"), 0, BLOCK_DAYS - 1);
    let block = |day| (days_between(OPENING_DAY, day) + offset).div_euclid(BLOCK_DAYS);
    (block(from)..=block(to))
        .flat_map(|block| block_of_stays(&label, block, block * BLOCK_DAYS - offset))
        .filter(|&(check_in, check_out)| check_out > from && check_in < to)
        .map(|(check_in, check_out)| {
            reservation(property, room_type, room, check_in, check_out, now)
        })
        .collect()
}

/// Check-in and check-out of the stays of one block.
fn block_of_stays(room: &str, block: i64, first_day: i64) -> Vec<(Date, Date)> {
    let mut stays = Vec::new();
    let mut cursor = between(&format!("start/{room}/{block}"), 0, 1);
    for step in 0.. {
        let label = format!("{room}/{block}/{step}");
        let nights = length(&label).min(BLOCK_DAYS - cursor);
        if nights <= 0 {
            break;
        }
        let check_in = plus_days(OPENING_DAY, first_day + cursor);
        stays.push((check_in, plus_days(check_in, nights)));
        cursor += nights + gap(&label);
    }
    stays
}

fn length(label: &str) -> i64 {
    *seed::pick(&format!("length/{label}"), &[&1, &1, &2, &2, &2, &3, &3, &4, &5])
}

fn gap(label: &str) -> i64 {
    *seed::pick(&format!("gap/{label}"), &[&0, &0, &0, &1, &1, &2, &3])
}

fn reservation(
    property: &Property,
    room_type: &RoomType,
    room: &Room,
    check_in: Date,
    check_out: Date,
    now: Timestamp,
) -> Reservation {
    let label = format!("{}/{}/{check_in}", property.slug, room.number);
    let times = ReservationTimes::of(property, &label, check_in, check_out);
    let state = state(&label, &times, property.today(now), check_in, now);
    Reservation {
        id: seed::id(times.booked_on, &label),
        item_id: seed::id(times.booked_on, &label),
        allocation_id: seed::id(times.booked_on, &label),
        tenant_id: property.tenant_id,
        property_id: property.id,
        room_type_id: room_type.id,
        room_id: has_room(&label, state, check_in, property.today(now)).then_some(room.id),
        code: code(&label),
        guest_name: names::guest(property.country, &label),
        adults: between(&format!("adults/{label}"), 1, i64::from(room_type.sleeps.min(3))) as u8,
        check_in,
        check_out,
        state,
        booked_at: seed::instant(times.booked_on.at(9, 30, 0, 0), &property.zone()),
        arrives_at: times.arrives_at,
        leaves_at: times.leaves_at,
        total: rates::of_stay(property, room_type, check_in, check_out),
    }
}

struct ReservationTimes {
    booked_on: Date,
    arrives_at: Timestamp,
    leaves_at: Timestamp,
}

impl ReservationTimes {
    fn of(property: &Property, label: &str, check_in: Date, check_out: Date) -> Self {
        let zone = property.zone();
        let quarters = |what: &str, most| 15 * between(&format!("{what}/{label}"), 0, most);
        let from = |day: Date, hour| seed::instant(day.at(hour, 0, 0, 0), &zone);
        // Most arrive at the end of the day, so that at any time of the day some arrivals are pending.
        let arrives_at = if chance(&format!("late/{label}"), 80) {
            from(plus_days(check_in, 1), 0)
        } else {
            plus_minutes(from(check_in, 14), 30 + quarters("arrives", 30))
        };
        Self {
            booked_on: plus_days(check_in, -between(&format!("lead/{label}"), 2, 40)),
            arrives_at,
            leaves_at: plus_minutes(from(check_out, 7), quarters("leaves", 20)),
        }
    }
}

fn state(
    label: &str,
    times: &ReservationTimes,
    today: Date,
    check_in: Date,
    now: Timestamp,
) -> ReservationState {
    let ahead = days_between(today, check_in);
    if chance(&format!("cancelled/{label}"), 4) {
        ReservationState::Cancelled
    } else if ahead < 0 && chance(&format!("no-show/{label}"), 2) {
        ReservationState::NoShow
    } else if now >= times.leaves_at {
        ReservationState::CheckedOut
    } else if ahead < 0 {
        ReservationState::InHouse
    } else if now >= times.arrives_at {
        ReservationState::CheckedIn
    } else if ahead > 2 && chance(&format!("held/{label}"), 6) {
        ReservationState::Held
    } else {
        ReservationState::Confirmed
    }
}

/// Whether a room is assigned: always from check-in on, often before.
fn has_room(label: &str, state: ReservationState, check_in: Date, today: Date) -> bool {
    match state {
        ReservationState::CheckedIn | ReservationState::InHouse | ReservationState::CheckedOut => {
            true
        }
        ReservationState::Confirmed if days_between(today, check_in) <= 1 => {
            chance(&format!("assigned/{label}"), 80)
        }
        ReservationState::Confirmed => chance(&format!("assigned-early/{label}"), 35),
        _ => false,
    }
}

/// A code of six letters and digits that are hard to confuse on the telephone.
fn code(label: &str) -> String {
    const CODE_LETTERS: &[u8] = b"ABCDEFGHJKMNPQRSTVWXYZ23456789";
    let mut number = seed::roll(&format!("code/{label}"));
    let mut code = String::from("GM-");
    for _ in 0..6 {
        code.push(char::from(CODE_LETTERS[(number % CODE_LETTERS.len() as u128) as usize]));
        number /= CODE_LETTERS.len() as u128;
    }
    code
}
