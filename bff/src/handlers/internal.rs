//! Operations of the internal listener, each for its own group of service accounts.

pub mod admin;
pub mod events;
pub mod jobs;
pub mod sessions;
