//! Reads passed on to upstreams: cached, in pages, with entity tags.

pub mod cached_read;
pub mod pagination;
pub(crate) mod params;
