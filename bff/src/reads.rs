//! Reads that are proxied to upstreams: cache, pagination, entity tags.

pub mod cached_read;
pub mod invalidations;
pub mod pagination;
pub(crate) mod params;
