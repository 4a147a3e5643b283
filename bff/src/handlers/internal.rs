//! Operations of the internal listener, each for its own group of service accounts.

pub(crate) mod admin;
pub(crate) mod events;
pub(crate) mod jobs;
pub(crate) mod sessions;
