//! Rules of the repository that a machine can check.

#![expect(clippy::expect_used, reason = "a test ends at the first surprise")]

mod bodies;
mod crates;
mod dashboards;
mod documents;
mod files;
mod language;
mod modules;
mod parameters;
mod programs;
mod reads;
mod sources;
