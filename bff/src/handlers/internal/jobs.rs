//! Jobs that a scheduler starts. Each is safe to run twice and concurrently.

pub mod probe_isolation;
pub mod reconcile_cursors;
pub mod reconcile_locks;
pub mod sweep;
