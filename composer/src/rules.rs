//! Every read the gateway keeps, in one table: from which upstream, how long it may take, how long
//! its answer holds (gateway-api sections 4 and 6).

use std::time::Duration;

use contracts::upstream::Upstream;

use crate::snapshots::Rule;

const SECOND: u64 = 1;
const MINUTE: u64 = 60;
const HOUR: u64 = 3600;

/// `fresh` and `stale` in seconds.
const fn rule(
    name: &'static str,
    upstream: Upstream,
    deadline_ms: u64,
    (fresh, stale): (u64, u64),
    is_of_today: bool,
) -> Rule {
    Rule {
        name,
        upstream: Some(upstream),
        deadline: Duration::from_millis(deadline_ms),
        fresh: Duration::from_secs(fresh),
        stale: Duration::from_secs(stale),
        is_of_today,
    }
}

/// The answer is about a day, today where the query names none: it ends at the property's midnight.
const TODAY: bool = true;
/// The answer is about no day.
const ANY_DAY: bool = false;

macro_rules! rules {
    ($($(#[$doc:meta])* $id:ident = $name:literal, $upstream:ident, $deadline_ms:literal, $holds:expr, $day:expr;)*) => {
        $($(#[$doc])* pub static $id: Rule = rule($name, Upstream::$upstream, $deadline_ms, $holds, $day);)*

        /// All of them, for the reading aid and for tests.
        pub static ALL: &[&Rule] = &[$(&$id,)* &SYNC_STATUS];
    };
}

rules! {
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
    /// Hidden rather than shown old.
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
    /// Money: what was charged a moment ago must show.
    FOLIO = "folio", Billing, 500, (2 * SECOND, 5 * MINUTE), ANY_DAY;
}

/// The gateway's own store: never kept, because asking it costs as little.
pub static SYNC_STATUS: Rule = Rule {
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
        let names: BTreeSet<_> = ALL.iter().map(|rule| rule.name).collect();
        assert_eq!(names.len(), ALL.len());
    }
}
