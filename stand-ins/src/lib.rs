//! Stands in for the rest of the platform in development, drills and tests: stateful, speaking
//! the documented contracts, and able to fail on command. Never linked into a production program.

pub mod demo;
