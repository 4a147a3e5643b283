//! Operations of the public listener.

pub mod alerts;
pub mod auth;
pub mod dashboard;
pub mod folios;
pub mod housekeeping;
pub mod inventory;
pub mod lock_audit;
pub mod locks;
pub mod maintenance;
pub mod reference;
pub mod reservations;
pub mod session;
pub mod staff;
pub mod stream;
pub mod suggestions;
pub mod sync_cursor;
pub mod sync_handshake;
pub mod workbench;
