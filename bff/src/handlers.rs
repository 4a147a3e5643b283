//! One file per operation or area: its query, its handler, its form in the OpenAPI document. Only
//! `http` imports handlers.

pub mod internal;
pub mod public;
