//! Paths used by several modules.

/// Base path of the API.
pub(crate) const BASE_PATH: &str = "/api/bff/backoffice/v1";
