//! The drills, one file per kind of failure.

use std::time::Duration;

use launcher::builder::Build;

use crate::house::{House, Plan};
use crate::observations::Observations;

mod beside;
mod cache_tier;
mod certificate;
mod cursors;
mod decision;
mod drift;
mod edge_rule;
mod failover;
mod handshake;
mod isolation;
mod lock;
mod matrix;
mod mfa_replay;
mod profiles;
mod renewal;
mod replay_bypass;
mod replay_flood;
mod replay_pressure;
mod second_factor;
mod session_tier;
mod snapshots;
mod supervisor_route;
mod upstream;
mod wrong_audience;

use beside::Beside;
use snapshots::{Route, SnapshotDrill};
use upstream::{Blow, UpstreamDrill};

/// How much time a drill takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Everything, the wait for the alert included.
    Full,
    /// Seconds: what every change is checked with.
    Short,
}

/// Whether a row has a drill.
pub fn is_known(id: &str) -> bool {
    drill(id).is_some()
}

/// Whether a row's drill leaves its house as it was, so that the next such row can have it.
pub fn shares_a_house(id: &str) -> bool {
    matches!(drill(id), Some(Drill::Decision(_)))
}

/// The house a row's drill needs.
pub fn prepare<'a>(id: &str, plan: Plan<'a>) -> Plan<'a> {
    match drill(id) {
        Some(Drill::Deadlines) => Plan { faults_on_services: true, ..plan },
        Some(Drill::Drift) => Plan { cold: true, faults_on_services: true, ..plan },
        // Its fault is a revision that lets replays in.
        Some(Drill::ReplayBypass) => Plan { build: Build::Sabotage, second_gateway: true, ..plan },
        Some(Drill::ReplayFlood | Drill::ReplayPressure | Drill::Failover) => {
            Plan { second_gateway: true, ..plan }
        }
        _ => plan,
    }
}

/// Runs the drill of a row. Errors are of the drill itself; what it finds is in the observations.
pub async fn run(
    id: &str,
    form: Form,
    objective: Duration,
    house: &mut House,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    match drill(id) {
        Some(Drill::Upstream(drill)) => drill.run(form, objective, house, seen).await,
        Some(Drill::Deadlines) => {
            F_33.run(form, objective, house, seen).await?;
            matrix::run(form, objective, house, seen).await
        }
        Some(Drill::Snapshots(drill)) => drill.run(form, objective, house, seen).await,
        Some(Drill::Drift) => drift::run(form, objective, house, seen).await,
        Some(Drill::CacheTier) => cache_tier::run(form, objective, house, seen).await,
        Some(Drill::Decision(leaf)) => decision::run(leaf, form, objective, house, seen).await,
        Some(Drill::MfaReplay) => mfa_replay::run(form, objective, house, seen).await,
        Some(Drill::Renewal) => renewal::run(form, objective, house, seen).await,
        Some(Drill::SecondFactor) => second_factor::run(form, objective, house, seen).await,
        Some(Drill::Profiles) => profiles::run(form, objective, house, seen).await,
        Some(Drill::Certificate) => certificate::run(form, objective, house, seen).await,
        Some(Drill::SupervisorRoute) => supervisor_route::run(form, objective, house, seen).await,
        Some(Drill::Isolation) => isolation::run(form, objective, house, seen).await,
        Some(Drill::Lock) => lock::run(form, objective, house, seen).await,
        Some(Drill::WrongAudience) => wrong_audience::run(form, objective, house, seen).await,
        Some(Drill::EdgeRule) => edge_rule::run(form, objective, house, seen).await,
        Some(Drill::Handshake(who)) => handshake::run(who, form, objective, house, seen).await,
        Some(Drill::Cursors) => cursors::run(form, objective, house, seen).await,
        Some(Drill::SessionTier) => session_tier::run(form, objective, house, seen).await,
        Some(Drill::Failover) => failover::run(form, objective, house, seen).await,
        Some(Drill::ReplayBypass) => replay_bypass::run(form, objective, house, seen).await,
        Some(Drill::ReplayFlood) => replay_flood::run(form, objective, house, seen).await,
        Some(Drill::ReplayPressure) => replay_pressure::run(form, objective, house, seen).await,
        None => anyhow::bail!("{id} has no drill"),
    }
}

/// What kind of failure it is; a kind with several rows says what differs.
enum Drill {
    Upstream(&'static UpstreamDrill),
    Snapshots(&'static SnapshotDrill),
    Deadlines,
    Drift,
    CacheTier,
    Decision(&'static decision::Leaf),
    MfaReplay,
    Renewal,
    SecondFactor,
    Profiles,
    Certificate,
    EdgeRule,
    Handshake(handshake::Who),
    Cursors,
    Isolation,
    Lock,
    WrongAudience,
    SessionTier,
    Failover,
    ReplayBypass,
    ReplayFlood,
    ReplayPressure,
    SupervisorRoute,
}

fn drill(id: &str) -> Option<Drill> {
    match id {
        "F-1" => Some(Drill::Renewal),
        "F-2" => Some(Drill::SecondFactor),
        "F-3" => Some(Drill::Profiles),
        "F-4" => Some(Drill::Snapshots(&F_4)),
        "F-5" => Some(Drill::Upstream(&F_5)),
        "F-6" => Some(Drill::Upstream(&F_6)),
        "F-7" => Some(Drill::Snapshots(&F_7)),
        "F-8" => Some(Drill::Upstream(&F_8)),
        "F-9" => Some(Drill::Upstream(&F_9)),
        "F-10" => Some(Drill::Lock),
        "F-11" => Some(Drill::Upstream(&F_11)),
        "F-12" => Some(Drill::Upstream(&F_12)),
        "F-13" => Some(Drill::Handshake(handshake::Who::One)),
        "F-14" => Some(Drill::Upstream(&F_14)),
        "F-15" => Some(Drill::Drift),
        "F-16" => Some(Drill::Upstream(&F_16)),
        "F-17" => Some(Drill::CacheTier),
        "F-18" => Some(Drill::SessionTier),
        "F-19" => Some(Drill::Failover),
        "F-23" => Some(Drill::Certificate),
        "F-24" => Some(Drill::EdgeRule),
        "F-28" => Some(Drill::ReplayBypass),
        "F-29" => Some(Drill::MfaReplay),
        "F-30" => Some(Drill::Isolation),
        "HK-3.3" => Some(Drill::WrongAudience),
        "HK-8.2" => Some(Drill::SupervisorRoute),
        "F-33" => Some(Drill::Deadlines),
        "F-35" => Some(Drill::Cursors),
        "F-41" => Some(Drill::ReplayPressure),
        "GD-3" => Some(Drill::ReplayFlood),
        "GD-5" => Some(Drill::Handshake(handshake::Who::All)),
        _ => decision::leaf(id).map(Drill::Decision),
    }
}

static F_4: SnapshotDrill = SnapshotDrill {
    blow: Blow::StandIn { upstream: "reservation", kind: "status" },
    widgets: &["arrivals", "departures", "inHouse"],
    // A day that no desk looks at.
    route: Some(Route { path: "/arrivals", unasked: Some("&date=2030-01-01") }),
};

static F_7: SnapshotDrill = SnapshotDrill {
    blow: Blow::TakeDatabase("housekeeping"),
    widgets: &["housekeepingSummary", "roomStatus"],
    route: Some(Route { path: "/housekeeping/board", unasked: None }),
};

/// Its database is taken away, so that it answers 503 by itself; then it is killed.
static F_5: UpstreamDrill = UpstreamDrill {
    blows: &[Blow::TakeDatabase("inventory"), Blow::Kill("inventory")],
    alert: "BffInventoryDown",
    widgets: |_| &["occupancy", "availability"],
    beside: &[Beside::Kept("/inventory/calendar")],
};

/// It answers errors, then nothing listens any more.
macro_rules! stand_in {
    ($upstream:literal, $alert:literal, $widgets:expr, $beside:expr) => {
        UpstreamDrill {
            alert: $alert,
            blows: &[
                Blow::StandIn { upstream: $upstream, kind: "status" },
                Blow::StandIn { upstream: $upstream, kind: "refuse" },
            ],
            widgets: |_| &$widgets,
            beside: &$beside,
        }
    };
}

static F_6: UpstreamDrill = stand_in!("pricing", "BffPricingDown", ["rateSnapshot"], []);
static F_8: UpstreamDrill = stand_in!(
    "maintenance",
    "BffUpstreamDown",
    ["maintenanceSummary"],
    [Beside::Kept("/maintenance/board")]
);
static F_9: UpstreamDrill =
    stand_in!("billing", "BffUpstreamDown", ["folioSummary"], [Beside::Folio]);
static F_11: UpstreamDrill =
    stand_in!("ai", "BffUpstreamDown", ["aiSuggestions"], [Beside::Emptied("/ai/suggestions")]);
static F_12: UpstreamDrill =
    stand_in!("notification", "BffNotificationDown", ["alerts"], [Beside::Kept("/alerts")]);
static F_14: UpstreamDrill = stand_in!("analytics", "BffUpstreamDown", ["kpis"], []);
static F_16: UpstreamDrill = stand_in!("property", "BffUpstreamDown", ["propertyCard"], []);

/// One that accepts and never answers; one whose process stands still.
static F_33: UpstreamDrill = UpstreamDrill {
    alert: "BffDashboardAwaitsDeadline",
    blows: &[Blow::StandIn { upstream: "pricing", kind: "hang" }, Blow::Pause("staff")],
    widgets: |blow| match blow.upstream() {
        "staff" => &["staffOnDuty", "staffingGaps"],
        _ => &["rateSnapshot"],
    },
    beside: &[],
};
