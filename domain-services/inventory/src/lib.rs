//! The inventory service: how many rooms can be sold for a night, and who has which room.
//!
//! Not here: prices, reservations, the state of a room, keys.
//!
//! Start with [`router`]. To add an operation, add a file with its SQL, handler, documentation and
//! tests, and a line in [`router`].

pub mod app;
pub mod availability;
pub mod availability_query;
pub mod calendar;
pub mod router;

#[cfg(test)]
mod tests;
