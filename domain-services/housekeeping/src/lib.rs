//! The housekeeping service: the status of rooms, and the tasks that change it.
//!
//! Not here: whether a room is sold (inventory), who is on shift (staff), repairs (maintenance).
//!
//! Start with [`router`]. To add an operation, add a file with its SQL, handler, documentation and
//! tests, and a line each in [`router`] and [`statements`].

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

/// All statements of this service, for the test that prepares them on the migrated schema.
pub fn statements() -> Vec<&'static str> {
    let own = [
        list_room_statuses::ROOMS_SQL,
        summary::SUMMARY_SQL,
        board::BOARD_SQL,
        get_room_status::ROOM_SQL,
        flip_room_status::FLIP_SQL,
        flip_room_status::INSERT_AUDIT_SQL,
        flip_room_status::INSERT_OUTBOX_SQL,
    ];
    own.into_iter().chain(app::SERVICE.maintenance.statements()).collect()
}
