//! Failure drills. Each injects a failure of the catalogue into real processes and checks detection,
//! what the user sees, automatic behaviour, the commands of the runbook, and recovery. A few rows are about
//! requests without a failure of ours; their drills send those.
//!
//! Not here: tests of a single component, which are next to the component. Start with [`drills`].

pub mod attacker;
pub mod catalog;
pub mod client;
pub mod desktop_storm;
pub mod drill_env;
pub mod drill_run;
pub mod drills;
pub mod durable_records;
pub mod events;
pub mod gateway_database;
pub mod kill_points;
pub mod lock_audit;
pub mod lock_fixture;
pub mod minted_token;
pub mod name_servers;
pub mod observations;
pub mod prometheus;
pub mod proxy;
pub mod report;
pub mod restore;
pub mod runbook;
pub mod runner;
pub mod sources;
pub mod sync_client;
pub mod timed_call;
pub mod timeline;
pub mod unfreeze;
pub mod uptime_probe;
