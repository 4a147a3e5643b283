//! Housekeeping: the truth of a room's state and of the work that changes it.
//!
//! Not here: whether a room is sold (inventory), who is on shift (staff), repairs (maintenance).
//!
//! To add an operation: one file with its SQL, its handler, its documentation and its tests, one
//! line in [`router`], one in [`statements`].

pub mod app;
pub mod board;
pub mod events;
pub mod flip_room_status;
pub mod room_status;
pub mod room_statuses;
pub mod router;
pub mod summary;
pub mod supervisor;
pub mod table_maintenance;

#[cfg(test)]
mod tests;

/// Every statement this service runs, for the test that prepares them on the migrated schema.
pub fn statements() -> Vec<&'static str> {
    let own = [
        room_statuses::ROOMS,
        summary::SUMMARY,
        board::BOARD,
        room_status::ROOM,
        flip_room_status::FLIP,
        flip_room_status::AUDIT,
        flip_room_status::TELL,
    ];
    own.into_iter().chain(table_maintenance::MAINTENANCE.statements()).collect()
}
