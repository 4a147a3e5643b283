//! Paths that several modules know.

/// Where the API stands, on every host.
pub const BASE_PATH: &str = "/api/bff/backoffice/v1";
