//! Reads that are proxied to upstreams: cache, pagination, entity tags.

pub(crate) mod cached_read;
pub(crate) mod invalidations;
pub(crate) mod pagination;
pub(crate) mod params;
