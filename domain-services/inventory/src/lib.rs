//! The inventory service: how many rooms can be sold for a night, and who has which room.
//!
//! Not here: prices, reservations, the state of a room, keys.
//!
//! Start with [`router`]. To add an operation, add a file with its SQL, handler, documentation and
//! tests, and a line each in [`router`] and [`statements`].

pub mod app;
pub mod availability;
pub mod availability_query;
pub mod calendar;
pub mod router;

#[cfg(test)]
mod tests;

/// All statements of this service, for the test that prepares them on the migrated schema.
pub fn statements() -> Vec<&'static str> {
    let own = [
        availability_query::NIGHTS_SQL,
        calendar::ROOMS_SQL,
        calendar::STAYS_SQL,
        calendar::BLOCKS_SQL,
    ];
    own.into_iter().chain(app::SERVICE.maintenance.statements()).collect()
}
