//! One file per operation: its query, its handler, its form in the OpenAPI document.

pub mod auth;
pub mod dashboard;
pub mod events;
pub mod reference;
pub mod revoke;
pub mod session;
pub mod stream;
