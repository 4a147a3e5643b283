//! Pseudo-random numbers and ids derived from a label, so that every run makes the same data.

use contracts::id::Id;
use jiff::Timestamp;
use jiff::civil::{Date, DateTime, date};
use jiff::tz::TimeZone;

/// The day the hotels opened: ids of things that never change are dated with it.
pub(super) const OPENING_DAY: Date = date(2026, 1, 5);

/// Hashes a label: FNV-1a, then mixed so that similar labels give unrelated numbers. Not for secrets.
pub(super) fn roll(label: &str) -> u128 {
    let mut state = 0xcbf2_9ce4_8422_2325_u64;
    for byte in label.bytes() {
        state = (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    (u128::from(mix(state)) << 64) | u128::from(mix(state.rotate_left(32) ^ !state))
}

/// The finalizer of SplitMix64.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number in `low..=high`.
pub(super) fn between(label: &str, low: i64, high: i64) -> i64 {
    let span = (high - low + 1) as u128;
    low + (roll(label) % span) as i64
}

/// True for `percent` of all labels.
pub(super) fn chance(label: &str, percent: i64) -> bool {
    between(label, 1, 100) <= percent
}

pub(super) fn pick<'a, T: ?Sized>(label: &str, from: &[&'a T]) -> &'a T {
    from[(roll(label) % from.len() as u128) as usize]
}

/// The id for a label, dated `day`.
pub(super) fn id<I: Id>(day: Date, label: &str) -> I {
    let made = instant(day.at(6, 0, 0, 0), &TimeZone::UTC);
    I::from_parts(made, roll(&format!("{}/{label}", I::PREFIX)))
}

/// The instant of local time `at` in `zone`.
pub(super) fn instant(at: DateTime, zone: &TimeZone) -> Timestamp {
    zone.to_ambiguous_timestamp(at).compatible().expect("the demo's years are in range")
}

/// `day` moved by a number of days.
pub(super) fn plus_days(day: Date, days: i64) -> Date {
    day.saturating_add(jiff::Span::new().days(days))
}

/// `at` moved by a number of minutes.
pub(super) fn plus_minutes(at: Timestamp, minutes: i64) -> Timestamp {
    at + jiff::SignedDuration::from_mins(minutes)
}

/// Whole days from `from` to `to`.
pub(super) fn days_between(from: Date, to: Date) -> i64 {
    i64::from(from.until(to).expect("the demo's years are in range").get_days())
}
