//! Inventory: the truth of "can this room be sold for this night".
//!
//! Not here: prices, reservations, the state of a room, keys.
//!
//! To add an operation: one file with its SQL, its handler, its documentation and its tests, one
//! line in [`router`], one in [`statements`].

pub mod app;
pub mod availability;
pub mod calendar;
pub mod nights;
pub mod router;
pub mod table_maintenance;

#[cfg(test)]
mod tests;

/// Every statement this service runs, for the test that prepares them on the migrated schema.
pub fn statements() -> Vec<&'static str> {
    let own = [nights::NIGHTS, calendar::ROOMS, calendar::STAYS, calendar::BLOCKS];
    own.into_iter().chain(table_maintenance::MAINTENANCE.statements()).collect()
}
