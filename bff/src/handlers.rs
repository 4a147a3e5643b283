//! One file per operation: its query, its handler, its form in the OpenAPI document.

pub mod alerts;
pub mod auth;
pub mod composition;
pub mod cursor_jobs;
pub mod dashboard;
pub mod edge_orders;
pub mod events;
pub mod folios;
pub mod housekeeping;
pub mod inventory;
pub mod lock_audit;
pub mod lock_jobs;
pub mod locks;
pub mod maintenance;
pub mod probe_isolation;
mod reading;
pub mod reference;
pub mod reservations;
pub mod revoke;
pub mod session;
pub mod staff;
pub mod stream;
pub mod suggestions;
pub mod sync_cursor;
pub mod sync_handshake;
pub mod unfreeze_locks;
pub mod workbench;
