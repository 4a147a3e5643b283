//! Timeouts, retries, concurrency and response size per upstream.

use std::time::Duration;

use contracts::upstream::Upstream;

const MIB: usize = 1024 * 1024;

/// The limits of one upstream (timeouts and retries of the platform facts).
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Longest single attempt.
    pub attempt: Duration,
    pub retries: u32,
    /// Maximum of concurrent calls; fewer are allowed while the upstream is slow.
    pub concurrency: usize,
    /// Maximum bytes of a response body.
    pub body: usize,
}

impl Limits {
    pub fn of(upstream: Upstream) -> Self {
        // The platform facts do not cover property, notification, sync, staff and audit (small
        // responses, worth a retry; a handshake's p95 must stay below 300 ms), nor ai and analytics
        // (heavy queries, never repeated).
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
        Self { attempt: Duration::from_millis(attempt_ms), retries, concurrency: 256, body }
    }
}

#[cfg(test)]
mod tests {
    use contracts::clock::{Clock, Entropy, wire};
    use contracts::id::Id;
    use contracts::upstream::inventory::{CalendarStay, StayStatus};

    use super::*;

    fn fresh<T: Id>() -> T {
        T::generate(&Clock::system(), &Entropy::system())
    }

    #[test]
    fn the_largest_calendar_fits_the_body_limit() {
        let day = wire::Date(jiff::civil::date(2026, 11, 21));
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
