//! The policy of every cached read, in one table: its upstream, deadline and freshness (gateway-api
//! sections 4 and 6).

use std::time::Duration;

use contracts::upstream::Upstream;

/// How one kind of read is executed and cached (gateway-api section 6).
#[derive(Debug)]
pub struct ReadPolicy {
    /// Unique; part of the cache key and a label of metrics.
    pub name: &'static str,
    /// `None` for data of the gateway itself.
    pub upstream: Option<Upstream>,
    /// Longest wait for the upstream, counted from the receipt of the request.
    pub deadline: Duration,
    /// How long a snapshot is fresh. Zero: never cached.
    pub fresh: Duration,
    /// How long after that it may still be shown, with its age, if the upstream fails.
    pub stale: Duration,
    /// Whether the response is about "today": then it expires at the property's midnight.
    pub is_of_today: bool,
}

const SECOND: u64 = 1;
const MINUTE: u64 = 60;
const HOUR: u64 = 3600;

/// `fresh` and `stale` are in seconds.
const fn policy(
    name: &'static str,
    upstream: Upstream,
    deadline_ms: u64,
    fresh: u64,
    stale: u64,
    is_of_today: bool,
) -> ReadPolicy {
    ReadPolicy {
        name,
        upstream: Some(upstream),
        deadline: Duration::from_millis(deadline_ms),
        fresh: Duration::from_secs(fresh),
        stale: Duration::from_secs(stale),
        is_of_today,
    }
}

/// The response is about a day (by default today): it expires at the property's midnight.
const TODAY: bool = true;
/// The response is not about a day.
const ANY_DAY: bool = false;

macro_rules! policies {
    ($($(#[$doc:meta])* $id:ident = $name:literal, $upstream:ident, $deadline_ms:literal, ($fresh:expr, $stale:expr), $day:expr;)*) => {
        $($(#[$doc])* pub static $id: ReadPolicy = policy($name, Upstream::$upstream, $deadline_ms, $fresh, $stale, $day);)*

        /// All of them, for diagnostics and tests.
        pub static ALL: &[&ReadPolicy] = &[$(&$id,)* &SYNC_STATUS];
    };
}

policies! {
    AVAILABILITY = "availability", Inventory, 400, (15 * SECOND, 10 * MINUTE), TODAY;
    CALENDAR = "calendar", Inventory, 500, (15 * SECOND, 10 * MINUTE), TODAY;
    RATE_SNAPSHOT = "rateSnapshot", Pricing, 400, (60 * SECOND, 30 * MINUTE), TODAY;
    HOUSEKEEPING_SUMMARY = "housekeepingSummary", Housekeeping, 400, (10 * SECOND, 5 * MINUTE), TODAY;
    HOUSEKEEPING_BOARD = "housekeepingBoard", Housekeeping, 500, (10 * SECOND, 5 * MINUTE), TODAY;
    ROOM_STATUS = "roomStatus", Housekeeping, 400, (10 * SECOND, 5 * MINUTE), ANY_DAY;
    MAINTENANCE_SUMMARY = "maintenanceSummary", Maintenance, 400, (30 * SECOND, 10 * MINUTE), TODAY;
    ARRIVALS = "arrivals", Reservation, 450, (10 * SECOND, 5 * MINUTE), TODAY;
    DEPARTURES = "departures", Reservation, 450, (10 * SECOND, 5 * MINUTE), TODAY;
    IN_HOUSE = "inHouse", Reservation, 450, (10 * SECOND, 5 * MINUTE), TODAY;
    FOLIO_SUMMARY = "folioSummary", Billing, 400, (30 * SECOND, 10 * MINUTE), TODAY;
    ALERTS = "alerts", Notification, 300, (5 * SECOND, 5 * MINUTE), ANY_DAY;
    /// Never shown stale.
    AI_SUGGESTIONS = "aiSuggestions", Ai, 500, (60 * SECOND, 0), ANY_DAY;
    KPIS = "kpis", Analytics, 450, (60 * SECOND, 60 * MINUTE), TODAY;
    STAFF_ON_DUTY = "staffOnDuty", Staff, 400, (30 * SECOND, 5 * MINUTE), ANY_DAY;
    STAFF_SHIFTS = "staffShifts", Staff, 500, (30 * SECOND, 5 * MINUTE), TODAY;
    STAFF_CAPACITY = "staffCapacity", Staff, 400, (30 * SECOND, 5 * MINUTE), ANY_DAY;
    STAFFING_GAPS = "staffingGaps", Staff, 500, (60 * SECOND, 30 * MINUTE), TODAY;
    PROPERTY_CARD = "propertyCard", Property, 300, (5 * MINUTE, 24 * HOUR), ANY_DAY;
    /// Columns of the workbench.
    BALANCES = "balances", Billing, 400, (15 * SECOND, 5 * MINUTE), ANY_DAY;
    LOCK_KEYS = "lockKeys", Lock, 400, (15 * SECOND, 5 * MINUTE), ANY_DAY;
    MAINTENANCE_BOARD = "maintenanceBoard", Maintenance, 500, (10 * SECOND, 5 * MINUTE), ANY_DAY;
    /// Short, because a charge must show at once.
    FOLIO = "folio", Billing, 500, (2 * SECOND, 5 * MINUTE), ANY_DAY;
}

/// From the gateway's own store: never cached, because reading it costs as little.
pub static SYNC_STATUS: ReadPolicy = ReadPolicy {
    name: "syncStatus",
    upstream: None,
    deadline: Duration::from_millis(100),
    fresh: Duration::ZERO,
    stale: Duration::ZERO,
    is_of_today: false,
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_reads_share_a_name() {
        let names: BTreeSet<_> = ALL.iter().map(|policy| policy.name).collect();
        assert_eq!(names.len(), ALL.len());
    }
}
