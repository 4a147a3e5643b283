//! Rates per night: the base rate of the type, adjusted by weekday and demand.

use contracts::money::Money;
use jiff::civil::{Date, Weekday};

use super::properties::{Property, RoomType};
use super::seed::between;

/// Best available rate of one night.
pub fn of_night(property: &Property, room_type: &RoomType, night: Date) -> Money {
    property.money(units(property, room_type, night))
}

/// The sum of a stay's nights.
pub(super) fn of_stay(property: &Property, room_type: &RoomType, from: Date, to: Date) -> Money {
    let nights = from.series(jiff::Span::new().days(1)).take_while(|night| *night < to);
    property.money(nights.map(|night| units(property, room_type, night)).sum())
}

fn units(property: &Property, room_type: &RoomType, night: Date) -> i64 {
    // The weekend of all three countries begins on Thursday evening or Friday.
    let weekend = match night.weekday() {
        Weekday::Thursday | Weekday::Friday => 12,
        Weekday::Saturday => 4,
        _ => 0,
    };
    let demand = between(&format!("demand/{}/{night}", property.slug), -4, 6);
    let own = between(&format!("demand/{}/{}/{night}", property.slug, room_type.code), -2, 2);
    let moved = room_type.base_rate * (100 + weekend + demand + own) / 100;
    moved / room_type.rate_step * room_type.rate_step
}
