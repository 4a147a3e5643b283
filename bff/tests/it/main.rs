//! The gateway through its real router, with real Redis where a request needs it.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod answers;
mod attestations;
mod contract;
mod decision_order;
mod desk;
mod edge;
mod edge_orders;
mod edge_rules;
mod endpoints;
mod house;
mod iam;
mod identity;
mod internal;
mod isolation;
mod isolation_probe;
mod issuer;
mod key;
mod lists;
mod lock_ledger;
mod lock_reconciler;
mod locks;
mod mutations;
mod platform;
mod profiles;
mod read_routes;
mod reads;
mod refresh;
mod refunds;
mod retention;
mod revocation;
mod service_reads;
mod session_tier;
mod sessions;
mod sign_out;
mod snapshots;
mod step_up;
mod suspension;
mod sync;
mod sync_service;
mod tenant;
mod tls;
mod workbench;
