//! What each upstream is granted: how long, how often, how much.

use std::time::Duration;

use contracts::upstream::Upstream;

const MIB: usize = 1024 * 1024;

/// What one upstream is granted (timeouts and retries of the platform facts).
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Longest single attempt.
    pub attempt: Duration,
    pub retries: u32,
    /// Calls under way at once, at most; fewer while the upstream is slow.
    pub concurrency: usize,
    /// Bytes of an answer.
    pub body: usize,
    /// A read without an answer after this long is sent once more, and the first answer wins. Of
    /// use where a few answers come much later than most; `None`: never.
    pub hedge: Option<Duration>,
}

impl Limits {
    pub fn of(upstream: Upstream) -> Self {
        // The platform facts are silent on property, notification, sync, staff and audit: small
        // answers, worth a second try (a handshake's p95 is to be below 300 ms); and on ai and analytics: neither advice nor a heavy query is
        // asked for twice.
        let (attempt_ms, retries) = match upstream {
            Upstream::Iam | Upstream::Ai | Upstream::Analytics => (600, 0),
            Upstream::Tenant => (500, 1),
            Upstream::Reservation => (800, 1),
            Upstream::Housekeeping | Upstream::Maintenance => (700, 1),
            Upstream::Lock => (1200, 0),
            Upstream::Property | Upstream::Notification => (400, 1),
            Upstream::Inventory
            | Upstream::Pricing
            | Upstream::Billing
            | Upstream::Sync
            | Upstream::Staff
            | Upstream::Audit => (600, 1),
        };
        let body = match upstream {
            // The calendar of 500 rooms for 60 nights, two nights a stay, is 3.9 MiB.
            Upstream::Inventory => 4 * MIB,
            _ => MIB,
        };
        Self {
            attempt: Duration::from_millis(attempt_ms),
            retries,
            concurrency: 256,
            body,
            hedge: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use contracts::clock::{Clock, Entropy};
    use contracts::id::Id;
    use contracts::upstream::inventory::{CalendarStay, StayStatus};

    use super::*;

    fn fresh<T: Id>() -> T {
        T::generate(&Clock::system(), &Entropy::system())
    }

    #[test]
    fn the_calendar_of_a_large_house_for_the_longest_window_may_come_in() {
        let day = jiff::civil::date(2026, 11, 21);
        let stay = CalendarStay {
            allocation_id: fresh(),
            room_type_id: fresh(),
            room_id: Some(fresh()),
            reservation_id: Some(fresh()),
            check_in: day,
            check_out: day,
            status: StayStatus::CheckedIn,
            hold_expires_at: None,
        };
        let one = serde_json::to_string(&stay).unwrap().len() + 1;
        let nights = 500 * 60;
        assert!(one * nights / 2 < Limits::of(Upstream::Inventory).body, "{one} bytes a stay");
    }
}
