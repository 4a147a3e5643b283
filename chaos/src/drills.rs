//! The drills, one module per kind of failure.

use std::time::Duration;

use launcher::builder::Build;

use crate::drill_env::{DrillEnv, EnvOptions};
use crate::observations::Observations;

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
mod read_probe;
mod renewal;
mod replay_bypass;
mod replay_flood;
mod replay_pressure;
mod second_factor;
mod session_tier;
mod snapshots;
mod supervisor_route;
mod upstream;
mod widgets;
mod wrong_audience;

use read_probe::ReadProbe;
use snapshots::{Route, SnapshotDrill};
use upstream::{Fault, UpstreamDrill};

/// Length of a drill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Includes the wait for the alert.
    Full,
    /// Takes seconds; used by `./check`.
    Short,
}

/// Whether a row has a drill.
pub fn is_known(id: &str) -> bool {
    drill(id).is_some()
}

/// Whether a row's drill leaves its environment unchanged, so that the next such row can reuse it.
pub fn shares_env(id: &str) -> bool {
    matches!(drill(id), Some(Drill::Decision(_)))
}

/// Adds what the row's drill needs to the options.
pub fn env_options<'a>(id: &str, options: EnvOptions<'a>) -> EnvOptions<'a> {
    match drill(id) {
        Some(Drill::Deadlines) => EnvOptions { faults_on_services: true, ..options },
        Some(Drill::Drift) => EnvOptions { cold: true, faults_on_services: true, ..options },
        // Its fault is a gateway that accepts replays.
        Some(Drill::ReplayBypass) => {
            EnvOptions { build: Build::Sabotage, second_gateway: true, ..options }
        }
        Some(Drill::ReplayFlood | Drill::ReplayPressure | Drill::Failover) => {
            EnvOptions { second_gateway: true, ..options }
        }
        _ => options,
    }
}

/// Runs the drill of a row. Findings go to `seen`; an error means that the drill itself failed.
pub async fn run(
    id: &str,
    mode: Mode,
    objective: Duration,
    env: &mut DrillEnv,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    match drill(id) {
        Some(Drill::Upstream(drill)) => drill.run(mode, objective, env, seen).await,
        Some(Drill::Deadlines) => {
            F_33.run(mode, objective, env, seen).await?;
            matrix::run(mode, objective, env, seen).await
        }
        Some(Drill::Snapshots(drill)) => drill.run(mode, objective, env, seen).await,
        Some(Drill::Drift) => drift::run(mode, objective, env, seen).await,
        Some(Drill::CacheTier) => cache_tier::run(mode, objective, env, seen).await,
        Some(Drill::Decision(case)) => decision::run(case, mode, objective, env, seen).await,
        Some(Drill::MfaReplay) => mfa_replay::run(mode, objective, env, seen).await,
        Some(Drill::Renewal) => renewal::run(mode, objective, env, seen).await,
        Some(Drill::SecondFactor) => second_factor::run(mode, objective, env, seen).await,
        Some(Drill::Profiles) => profiles::run(mode, objective, env, seen).await,
        Some(Drill::Certificate) => certificate::run(mode, objective, env, seen).await,
        Some(Drill::SupervisorRoute) => supervisor_route::run(mode, objective, env, seen).await,
        Some(Drill::Isolation) => isolation::run(mode, objective, env, seen).await,
        Some(Drill::Lock) => lock::run(mode, objective, env, seen).await,
        Some(Drill::WrongAudience) => wrong_audience::run(mode, objective, env, seen).await,
        Some(Drill::EdgeRule) => edge_rule::run(mode, objective, env, seen).await,
        Some(Drill::Handshake(who)) => handshake::run(who, mode, objective, env, seen).await,
        Some(Drill::Cursors) => cursors::run(mode, objective, env, seen).await,
        Some(Drill::SessionTier) => session_tier::run(mode, objective, env, seen).await,
        Some(Drill::Failover) => failover::run(mode, objective, env, seen).await,
        Some(Drill::ReplayBypass) => replay_bypass::run(mode, objective, env, seen).await,
        Some(Drill::ReplayFlood) => replay_flood::run(mode, objective, env, seen).await,
        Some(Drill::ReplayPressure) => replay_pressure::run(mode, objective, env, seen).await,
        None => anyhow::bail!("{id} has no drill"),
    }
}

/// The drill of a row, with its parameters.
enum Drill {
    Upstream(&'static UpstreamDrill),
    Snapshots(&'static SnapshotDrill),
    Deadlines,
    Drift,
    CacheTier,
    Decision(&'static decision::DecisionCase),
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
        _ => decision::case(id).map(Drill::Decision),
    }
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
    reads: &[ReadProbe::Kept("/inventory/calendar")],
};

/// Responds with errors, then refuses connections.
macro_rules! stand_in {
    ($upstream:literal, $alert:literal, $reads:expr) => {
        UpstreamDrill {
            alert: $alert,
            faults: &[
                Fault::StandIn { upstream: $upstream, kind: "status" },
                Fault::StandIn { upstream: $upstream, kind: "refuse" },
            ],
            reads: &$reads,
        }
    };
}

static F_6: UpstreamDrill = stand_in!("pricing", "BffPricingDown", []);
static F_8: UpstreamDrill =
    stand_in!("maintenance", "BffUpstreamDown", [ReadProbe::Kept("/maintenance/board")]);
static F_9: UpstreamDrill = stand_in!("billing", "BffUpstreamDown", [ReadProbe::Folio]);
static F_11: UpstreamDrill =
    stand_in!("ai", "BffUpstreamDown", [ReadProbe::Emptied("/ai/suggestions")]);
static F_12: UpstreamDrill =
    stand_in!("notification", "BffNotificationDown", [ReadProbe::Kept("/alerts")]);
static F_14: UpstreamDrill = stand_in!("analytics", "BffUpstreamDown", []);
static F_16: UpstreamDrill = stand_in!("property", "BffUpstreamDown", []);

/// One upstream accepts requests and never responds; the process of another is stopped.
static F_33: UpstreamDrill = UpstreamDrill {
    alert: "BffDashboardAwaitsDeadline",
    faults: &[Fault::StandIn { upstream: "pricing", kind: "hang" }, Fault::Pause("staff")],
    reads: &[],
};
