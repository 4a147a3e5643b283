//! What the queries of reads share.

use jiff::civil::Date;
use serde::Deserialize;
use service_kit::problem::{ApiError, ApiResult};

/// For the document; [`crate::edge::InProperty`] reads it.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PropertyQuery {
    /// The property shown; it must be in the caller's scope.
    #[param(rename = "propertyId", value_type = String, required = true)]
    #[serde(rename = "propertyId")]
    _property: Option<String>,
}

/// A day, if one is given. Which days there may be is the upstream's to say.
pub(super) fn date(field: &str, given: Option<&str>) -> ApiResult<Option<Date>> {
    let invalid = |_| ApiError::field(field, "INVALID", "Send the date as YYYY-MM-DD.");
    given.map(|text| text.parse().map_err(invalid)).transpose()
}
