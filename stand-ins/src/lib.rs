//! Stand-ins for the upstreams that this repository does not implement (iam, reservation, billing,
//! lock-integration …), for development, drills and tests. They keep state, follow the documented
//! contracts, and fail on command. Never linked into a production program.
//!
//! Not here: inventory, housekeeping and staff, which are real services; requests to them can be
//! passed through the fault layer.
//!
//! Start with [`app::start`]: it opens a listener for each upstream and a control listener for
//! faults, effects and events. [`demo`] is the data that they serve.

pub mod app;
pub mod config;
mod console;
mod control;
pub mod demo;
mod effects;
mod event_dispatcher;
mod event_effects;
mod faults;
mod iam;
mod idempotency;
mod listener;
mod oauth;
mod oidc;
mod refusal;
pub mod totp;
mod upstreams;
