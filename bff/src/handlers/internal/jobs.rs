//! What a scheduler starts. Every job may run twice and on several instances at once.

pub mod probe_isolation;
pub mod reconcile_cursors;
pub mod reconcile_locks;
pub mod sweep;
