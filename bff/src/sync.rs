//! Synchronization of the desktops: their cursors, and how far they are.

pub mod cursors;
pub mod status;
