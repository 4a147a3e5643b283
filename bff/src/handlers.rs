//! Handlers, one file per operation or area, with query and OpenAPI attributes. Only `http` imports
//! them.

pub mod internal;
pub mod public;
