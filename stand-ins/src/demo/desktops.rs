//! Simulated synchronization of each desktop: it pulls every few minutes, and pushes when its operator
//! did something.

use contracts::id::DeviceId;
use contracts::upstream::sync::DeviceCursor;
use jiff::Timestamp;

use super::seed::{OPENING_DAY, between, chance, instant, plus_minutes};

const PULL_INTERVAL_MINUTES: i64 = 5;

/// The cursor of a desktop. Its version counts the pulls since the opening day; a desktop that only reads
/// never pushes.
pub fn cursor(device: DeviceId, now: Timestamp) -> DeviceCursor {
    let first = instant(
        OPENING_DAY.at(6, between(&format!("pull/{device}"), 0, 4) as i8, 0, 0),
        &jiff::tz::TimeZone::UTC,
    );
    let pulls = now.duration_since(first).as_mins().max(0) / PULL_INTERVAL_MINUTES;
    let last_pull = plus_minutes(first, pulls * PULL_INTERVAL_MINUTES);
    let pushed = between(&format!("push/{device}/{pulls}"), 1, 90);
    let last_push = plus_minutes(last_pull, -pushed);
    DeviceCursor {
        device_id: device,
        version: pulls as u64,
        last_pull_at: last_pull.into(),
        last_push_at: (!chance(&format!("shows/{device}"), 15)).then_some(last_push.into()),
    }
}
