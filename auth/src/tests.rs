//! Tests of what the crate does not export.

mod signature_sets;
