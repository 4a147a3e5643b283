//! Synchronization of desktops: cached cursors and sync status.

pub(crate) mod cursors;
pub(crate) mod status;
