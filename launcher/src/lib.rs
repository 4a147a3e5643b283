//! The whole system on this machine: finds Postgres and Redis, builds and starts
//! every server, watches them, and stops them without leaving a process behind.
//! Also the desktop and the service accounts that developers, drills and measurements call as.
//!
//! Not here: anything a production deployment needs, and any rule of a service.

pub mod backing;
pub mod builder;
pub mod cli;
pub mod databases;
pub mod desktop;
pub mod edge_rules;
pub mod folder;
pub mod http_client;
pub mod info;
pub mod internal;
pub mod obstacle;
pub mod ports;
pub mod programs;
pub mod progress;
pub mod ready;
pub mod run_as;
pub mod secrets;
pub mod seed;
pub mod servers;
pub mod service_accounts;
pub mod stack;
pub mod supervisor;
pub mod tls;

mod paint;
mod postgres;
mod redis;

pub use info::StackInfo;
pub use progress::Progress;
pub use stack::{Stack, StackOptions};
