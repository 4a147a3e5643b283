//! The housekeeping service: the status of rooms, and the tasks that change it.
//!
//! Not here: whether a room is sold (inventory), who is on shift (staff), repairs (maintenance).
//!
//! Start with [`router`]. To add an operation, add a file with its SQL, handler, documentation and
//! tests, and a line in [`router`].

pub mod app;
pub mod board;
pub mod events;
pub mod flip_room_status;
pub mod get_room_status;
pub mod list_room_statuses;
pub mod router;
pub mod summary;
pub mod supervisor;

#[cfg(test)]
mod tests;
