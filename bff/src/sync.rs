//! Synchronization of desktops: cached cursors and sync status.

pub mod cursors;
pub mod status;
