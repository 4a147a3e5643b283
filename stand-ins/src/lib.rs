//! Stands in for the rest of the platform in development, drills and tests: stateful, speaking
//! the documented contracts, and able to fail on command. Never linked into a production program.
//!
//! [`demo`] is the house it shows; [`app`] starts a listener for each upstream and the control
//! listener that steers them.

pub mod app;
pub mod config;
mod console;
mod control;
pub mod demo;
mod faults;
mod iam;
mod ledger;
mod listener;
mod platform;
mod relay;
mod shelf;
pub mod totp;
mod upstreams;
