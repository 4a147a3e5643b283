//! The gateway: the one server the hotel desktop talks to.
//!
//! A request travels one way: listener, [`middleware`] (the whole stack), the edge's
//! principal, a handler, and from there the composer and the upstream clients.

pub mod activity;
pub mod admin_audit;
pub mod app;
pub mod attestation;
pub mod bell;
pub mod config;
pub mod edge;
pub mod edge_orders;
pub mod edge_rules;
pub mod endpoints;
pub mod handlers;
pub mod idempotency;
pub mod internal;
pub mod isolation_probe;
pub mod job_lease;
pub mod locks;
pub mod middleware;
pub mod mutation;
pub mod openapi;
pub mod pages;
pub mod proven;
pub mod reads;
pub mod refresh_sharing;
pub mod revocation;
pub mod router;
pub mod session_tier;
pub mod sessions;
pub mod standing;
pub mod state;
mod store;
pub mod streams;
pub mod sync_cursors;
pub mod sync_status;
pub mod table_maintenance;
pub mod tls;
pub mod upstream_problem;

/// Statements of this crate, for the test that prepares them on the migrated schema.
pub fn statements() -> Vec<&'static str> {
    let attestation = attestation::statements();
    let all = [&attestation[..], &idempotency::store::STATEMENTS, &job_lease::STATEMENTS];
    all.concat()
}
