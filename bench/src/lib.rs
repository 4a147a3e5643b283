//! Measurements of the gateway on this machine, each reproducible with one command.
//!
//! A measurement starts a release stack of its own, so it never meets a person's data, and it
//! only ever sends to this machine. Not here: pass marks. Drills and tests decide what is
//! right; this crate says what it costs.

pub mod cli;
mod dashboard;
mod flood;
mod floor;
mod kept;
mod load;
mod paint;
mod phase;
mod proofs;
mod report;
mod seats;
mod stage;
mod system;
mod table;
mod tally;
mod yardstick;
