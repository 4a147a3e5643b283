//! Paths used by several modules.

/// Base path of the API.
pub const BASE_PATH: &str = "/api/bff/backoffice/v1";
