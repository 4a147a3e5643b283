//! One file per operation: its query, its handler, its form in the OpenAPI document.

pub mod dashboard;
pub mod reference;
pub mod session;
pub mod stream;
