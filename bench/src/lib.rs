//! Measurements of the gateway on this machine, each reproducible with one command.
//!
//! A measurement starts its own release stack and sends requests to this machine only. Not here:
//! correctness, which tests and drills check. Start with [`cli`].

mod baseline;
mod calibration;
mod canned_upstream;
pub mod cli;
mod clients;
mod dashboard;
mod environment;
mod flood;
mod load;
mod options;
mod phase;
mod presigned;
mod recorder;
mod report;
mod report_text;
mod system;
