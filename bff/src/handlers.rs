//! One file per operation: its query, its handler, its form in the OpenAPI document.

pub mod arrivals;
pub mod auth;
pub mod dashboard;
pub mod edge_orders;
pub mod events;
pub mod folios;
pub mod inventory;
pub mod probe_isolation;
mod reading;
pub mod reference;
pub mod reservations;
pub mod revoke;
pub mod session;
pub mod stream;
