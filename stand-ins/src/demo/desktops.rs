//! How far each desktop has come with its synchronisation: it pulls every few minutes, and pushes
//! when its operator did something.

use contracts::id::DeviceId;
use jiff::Timestamp;

use super::seed::{OPENED, between, chance, instant, plus_minutes};

/// Minutes between two pulls.
const EVERY: i64 = 5;

/// Pulls since the house opened, and the instants of the last pull and push before `now`.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    pub pulls: u64,
    pub last_pull: Timestamp,
    /// `None` for a desktop that only shows things.
    pub last_push: Option<Timestamp>,
}

pub fn progress(device: DeviceId, now: Timestamp) -> Progress {
    let first = instant(
        OPENED.at(6, between(&format!("pull/{device}"), 0, 4) as i8, 0, 0),
        &jiff::tz::TimeZone::UTC,
    );
    let pulls = now.duration_since(first).as_mins().max(0) / EVERY;
    let last_pull = plus_minutes(first, pulls * EVERY);
    let pushed = between(&format!("push/{device}/{pulls}"), 1, 90);
    let last_push = plus_minutes(last_pull, -pushed);
    Progress {
        pulls: pulls as u64,
        last_pull,
        last_push: (!chance(&format!("shows/{device}"), 15)).then_some(last_push),
    }
}
