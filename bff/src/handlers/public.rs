//! Operations of the public listener.

pub(crate) mod alerts;
pub(crate) mod auth;
pub(crate) mod dashboard;
pub(crate) mod folios;
pub(crate) mod housekeeping;
pub(crate) mod inventory;
pub(crate) mod lock_audit;
pub(crate) mod locks;
pub(crate) mod maintenance;
pub(crate) mod reference;
pub(crate) mod reservations;
pub(crate) mod session;
pub(crate) mod staff;
pub(crate) mod stream;
pub(crate) mod suggestions;
pub(crate) mod sync_cursor;
pub(crate) mod sync_handshake;
pub(crate) mod workbench;
