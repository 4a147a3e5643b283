//! Failure drills: each makes one failure of the catalogues happen to real processes and
//! shows what is noticed, what the user sees, and how it ends.
//!
//! Not here: tests of a part by itself; they stand beside the part.

pub mod alerts;
pub mod catalog;
pub mod desk;
pub mod desktops;
pub mod doors;
pub mod drills;
pub mod events;
pub mod house;
pub mod observations;
pub mod proxy;
pub mod report;
pub mod thief;
pub mod timed;
