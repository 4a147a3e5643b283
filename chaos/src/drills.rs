//! The drills, one module per kind of failure.

use crate::drill_run::Drill;

mod all_upstreams;
mod audit_completeness;
mod blast_radius;
mod cache_tier;
mod certificate;
mod cursors;
mod database_cluster;
mod decision;
mod detection_time;
mod dns;
mod drift;
mod edge_rule;
mod exactly_once;
mod failover;
mod first_command;
mod forced_sign_out;
mod handshake;
mod idempotency_bypass;
mod isolation;
mod key_changes;
mod lock;
mod lock_audit_gap;
mod matrix;
mod mfa_replay;
mod mitigation_time;
mod other_manager;
mod primary_down;
mod profiles;
mod read_probe;
mod renewal;
mod replay_bypass;
mod replay_flood;
mod replay_pressure;
mod second_factor;
mod second_revision;
mod session_standby;
mod session_tier;
mod snapshots;
mod steady_keys;
mod supervisor_route;
mod total_loss;
mod upstream;
mod widget_states;
mod widgets;
mod wrong_audience;

use decision::cases;
use matrix::Deadlines;
use read_probe::ReadProbe;
use snapshots::{Route, SnapshotDrill};
use upstream::{Fault, Together, UpstreamDrill};
use widget_states::Shown;

/// The drills of the catalogue's rows.
static DRILLS: &[(&str, &dyn Drill)] = &[
    ("F-1", &renewal::TokenRenewal),
    ("F-2", &second_factor::SecondFactor),
    ("F-3", &profiles::Profiles),
    ("F-4", &F_4),
    ("F-5", &F_5),
    ("F-6", &F_6),
    ("F-7", &F_7),
    ("F-8", &F_8),
    ("F-9", &F_9),
    ("F-10", &lock::Lock),
    ("F-11", &F_11),
    ("F-12", &F_12),
    ("F-13", &handshake::Who::One),
    ("F-14", &F_14),
    ("F-15", &drift::Drift),
    ("F-16", &F_16),
    ("F-17", &cache_tier::CacheTier),
    ("F-18", &session_tier::SessionTier),
    ("F-19", &failover::Failover),
    ("F-20", &primary_down::PrimaryDown),
    ("F-23", &certificate::Certificate),
    ("F-24", &edge_rule::EdgeRule),
    ("F-25", &dns::Dns),
    ("F-27", &lock_audit_gap::LockAuditGap),
    ("F-28", &replay_bypass::ReplayBypass),
    ("F-29", &mfa_replay::MfaReplay),
    ("F-30", &isolation::Isolation),
    ("F-32", &idempotency_bypass::IdempotencyBypass),
    ("F-33", &F_33),
    ("F-35", &cursors::Cursors),
    ("F-41", &replay_pressure::ReplayPressure),
    ("DT-1", &cases::DT_1),
    ("DT-2", &cases::DT_2),
    ("DT-3", &cases::DT_3),
    ("DT-4", &cases::DT_4),
    ("DT-5", &cases::DT_5),
    ("DT-6", &cases::DT_6),
    ("DT-7", &cases::DT_7),
    ("DT-8", &cases::DT_8),
    ("DT-9", &all_upstreams::AllUpstreams),
    ("DT-10", &cases::DT_10),
    ("DT-11", &cases::DT_11),
    ("DT-12", &cases::DT_12),
    ("DT-13", &cases::DT_13),
    ("DT-14", &cases::DT_14),
    ("DT-15", &cases::DT_15),
    ("DT-16", &cases::DT_16),
    ("DT-17", &cases::DT_17),
    ("DT-18", &cases::DT_18),
    ("DT-19", &cases::DT_19),
    ("BR-1", &blast_radius::cases::BR_1),
    ("BR-2", &blast_radius::cases::BR_2),
    ("BR-3", &blast_radius::cases::BR_3),
    ("BR-4", &blast_radius::cases::BR_4),
    ("BR-5", &blast_radius::cases::BR_5),
    ("BR-6", &blast_radius::cases::BR_6),
    ("BR-7", &blast_radius::cases::BR_7),
    ("BR-8", &blast_radius::cases::BR_8),
    ("BR-9", &blast_radius::security::Defect::Replays),
    ("BR-10", &blast_radius::security::Defect::CacheKeys),
    ("RO-1", &total_loss::TotalLoss::Data),
    ("RO-2", &total_loss::TotalLoss::Time),
    ("RO-3", &detection_time::DetectionTime),
    ("RO-4", &first_command::FirstCommand),
    ("RO-5", &mitigation_time::MitigationTime),
    ("RO-6", &audit_completeness::AuditCompleteness),
    ("RO-7", &exactly_once::ExactlyOnce),
    ("RO-8", &forced_sign_out::ForcedSignOut),
    ("GD-3", &replay_flood::ReplayFlood),
    ("GD-5", &handshake::Who::All),
    ("HK-3.3", &wrong_audience::WrongAudience),
    ("HK-8.2", &supervisor_route::SupervisorRoute),
];

/// The drill of a row.
pub fn find(id: &str) -> Option<&'static dyn Drill> {
    DRILLS.iter().find(|(row, _)| *row == id).map(|(_, drill)| *drill)
}

/// Rows whose faults may be in force at the same time, because they concern different widgets, and a drill
/// of all of them.
pub fn together() -> ([&'static str; 7], &'static dyn Drill) {
    static DRILL: Together = Together(&[&F_6, &F_8, &F_9, &F_11, &F_12, &F_14, &F_16]);
    (["F-6", "F-8", "F-9", "F-11", "F-12", "F-14", "F-16"], &DRILL)
}

static F_4: SnapshotDrill = SnapshotDrill {
    fault: Fault::StandIn { upstream: "reservation", kind: "status" },
    // A day that is not cached.
    route: Some(Route { path: "/arrivals", uncached_query: Some("&date=2030-01-01") }),
};

static F_7: SnapshotDrill = SnapshotDrill {
    fault: Fault::TakeDatabase("housekeeping"),
    route: Some(Route { path: "/housekeeping/board", uncached_query: None }),
};

/// Loses its database, so that it responds with 503; then it is killed.
static F_5: UpstreamDrill = UpstreamDrill {
    faults: &[Fault::TakeDatabase("inventory"), Fault::Kill("inventory")],
    alert: "BffInventoryDown",
    shown: Shown::LastData,
    reads: &[ReadProbe::Kept("/inventory/calendar")],
};

/// Responds with errors, then refuses connections.
macro_rules! stand_in {
    ($upstream:literal, $alert:literal, $shown:ident, $reads:expr) => {
        UpstreamDrill {
            alert: $alert,
            shown: Shown::$shown,
            faults: &[
                Fault::StandIn { upstream: $upstream, kind: "status" },
                Fault::StandIn { upstream: $upstream, kind: "refuse" },
            ],
            reads: &$reads,
        }
    };
}

static F_6: UpstreamDrill = stand_in!("pricing", "BffPricingDown", LastData, []);
static F_8: UpstreamDrill =
    stand_in!("maintenance", "BffUpstreamDown", LastData, [ReadProbe::Kept("/maintenance/board")]);
static F_9: UpstreamDrill = stand_in!("billing", "BffUpstreamDown", LastData, [ReadProbe::Folio]);
static F_11: UpstreamDrill =
    stand_in!("ai", "BffUpstreamDown", Hidden, [ReadProbe::Emptied("/ai/suggestions")]);
static F_12: UpstreamDrill =
    stand_in!("notification", "BffNotificationDown", LastData, [ReadProbe::Kept("/alerts")]);
static F_14: UpstreamDrill = stand_in!("analytics", "BffUpstreamDown", LastData, []);
static F_16: UpstreamDrill = stand_in!("property", "BffUpstreamDown", LastData, []);

/// One upstream accepts requests and never responds; the process of another is stopped.
static F_33: Deadlines = Deadlines(UpstreamDrill {
    alert: "BffDashboardAwaitsDeadline",
    shown: Shown::LastData,
    faults: &[Fault::StandIn { upstream: "pricing", kind: "hang" }, Fault::Pause("staff")],
    reads: &[],
});

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn faults_that_are_made_together_concern_different_widgets_and_end_together() {
        let (ids, _) = together();
        let drills = [&F_6, &F_8, &F_9, &F_11, &F_12, &F_14, &F_16];
        let mut seen = BTreeSet::new();
        for (id, drill) in ids.into_iter().zip(drills) {
            let registered: *const dyn Drill = find(id).unwrap();
            assert!(std::ptr::addr_eq(registered, drill), "{id} is another drill");
            let upstreams: BTreeSet<_> = drill.faults.iter().map(|it| it.upstream()).collect();
            for widget in upstreams.into_iter().flat_map(widgets::of_upstream) {
                assert!(seen.insert(widget.clone()), "{widget} is of two drills");
            }
            // The end of one stand-in fault is the end of all.
            let are_alike = drill.faults.iter().all(|it| matches!(it, Fault::StandIn { .. }));
            assert!(are_alike, "{id} has another fault");
        }
    }
}
