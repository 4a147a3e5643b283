//! Runs the whole system on one machine: finds Postgres and Redis, builds and starts every server,
//! supervises them, and stops them without leaving a process behind. Also contains the desktop and
//! service-account clients that developers, drills and measurements use.
//!
//! Not here: anything a production deployment needs. Start with [`stack`], or [`cli`] for the
//! commands.

pub mod binaries;
pub mod builder;
pub mod cli;
pub mod data_dir;
pub mod databases;
pub mod dependencies;
pub mod desktop;
pub mod edge_rules;
pub mod http_client;
pub mod internal;
pub mod ports;
pub mod progress;
pub mod readiness;
pub mod run_as;
pub mod secrets;
pub mod seed;
pub mod servers;
pub mod service_accounts;
pub mod stack;
pub mod stack_info;
pub mod stop_signals;
pub mod supervisor;
pub mod tls;
pub mod user_error;

mod postgres;
mod redis;

pub use progress::Progress;
pub use stack::{Stack, StackOptions};
pub use stack_info::StackInfo;
