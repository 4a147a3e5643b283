//! Query parameters shared by reads.

use serde::Deserialize;

/// For the OpenAPI document; [`crate::edge::InProperty`] parses it.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PropertyQuery {
    /// The property shown; it must be in the caller's scope.
    #[param(rename = "propertyId", value_type = String, required = true)]
    #[serde(rename = "propertyId")]
    _property: Option<String>,
}
