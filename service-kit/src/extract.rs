//! axum's extractors with problems for rejections.

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts};
use axum::response::{IntoResponse, Response};
use contracts::id::PropertyId;
use contracts::problem::{Problem, code};
use http::request::Parts;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::problem::{ApiError, ApiResult};

/// `?a=b` as a struct.
#[derive(Debug, Clone, Copy, FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(ApiError))]
pub struct Query<T>(pub T);

/// Path parameters.
#[derive(Debug, Clone, Copy, FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(ApiError))]
pub struct Path<T>(pub T);

/// `?propertyId=` of reads that are about one property.
#[derive(Debug, Clone, Copy, utoipa::IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub struct PropertyQuery {
    /// The property.
    #[param(value_type = String, pattern = "^ppt_[0-7][0-9A-HJKMNP-TV-Z]{25}$")]
    pub property_id: PropertyId,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawPropertyQuery {
    property_id: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for PropertyQuery {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        const FIELD: &str = "query.propertyId";
        let Query(raw) = Query::<RawPropertyQuery>::from_request_parts(parts, state).await?;
        let missing = || ApiError::field(FIELD, "REQUIRED", "Send the property's id.");
        let invalid = |_| ApiError::field(FIELD, "INVALID", "Send an id of the form ppt_<ULID>.");
        let given = raw.property_id.ok_or_else(missing)?;
        Ok(Self { property_id: given.parse().map_err(invalid)? })
    }
}

/// A date that a parameter may hold; `field` is how a problem names it. In the one form of the wire:
/// others of ISO 8601 reach years that Postgres has not.
pub fn date(field: &str, given: Option<&str>) -> ApiResult<Option<Date>> {
    let read = |text: &str| text.parse().ok().filter(|_| text.len() == "YYYY-MM-DD".len());
    let invalid = || ApiError::field(field, "INVALID", "Send the date as YYYY-MM-DD.");
    given.map(|text| read(text).ok_or_else(invalid)).transpose()
}

/// A JSON body, in or out.
#[derive(Debug, Clone, Copy, FromRequest)]
#[from_request(via(axum::Json), rejection(ApiError))]
pub struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Problem::field("query", "INVALID", format!("{}.", rejection.body_text())).into()
    }
}

impl From<PathRejection> for ApiError {
    /// An id of another form names nothing: 404, as for any other unknown path.
    fn from(_: PathRejection) -> Self {
        Self::not_found()
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        match rejection.status().as_u16() {
            413 => Self::new(&code::PAYLOAD_TOO_LARGE, "The body is larger than this route takes."),
            415 => Self::new(&code::UNSUPPORTED_MEDIA_TYPE, "Send the body as application/json."),
            _ => Problem::field("body", "INVALID", format!("{}.", rejection.body_text())).into(),
        }
    }
}
