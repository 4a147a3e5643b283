//! Handlers, one file per operation or area, with query and OpenAPI attributes. Only `http` imports
//! them.

pub(crate) mod internal;
pub(crate) mod public;
