//! axum's extractors, with problems as rejections.

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use contracts::clock::parse_date;
use contracts::id::PropertyId;
use contracts::json::{self, Fault, ZeroCharacter};
use contracts::problem::{FieldError, Problem, code};
use contracts::rules::code_and_sentence;
use garde::Validate;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use jiff::civil::Date;
use mime::Mime;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::problem::{ApiError, ApiResult};

/// The query string as a struct. Refuses U+0000 in names and values, and a known parameter that occurs
/// twice.
#[derive(Debug, Clone, Copy)]
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let pairs = url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
        for (name, value) in pairs {
            if name.contains('\0') || value.contains('\0') {
                let field = format!("query.{}", name.replace('\0', "\u{fffd}"));
                let detail = "Leave the character U+0000 out of the query.";
                return Err(ApiError::field(&field, "INVALID", detail));
            }
        }
        json::from_pairs(pairs).map(Self).map_err(|error| refused_query(&error))
    }
}

fn refused_query(error: &json::Error) -> ApiError {
    let field = error.field("query");
    let name = field.trim_start_matches("query.");
    let detail = match error.fault() {
        Fault::Duplicate => format!("Send the parameter {name} once."),
        Fault::Required => format!("Send the parameter {name}."),
        _ => format!("The parameter {name} is not valid: {error}."),
    };
    Problem::field(field, error.fault().code(), detail).into()
}

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

/// Parses a date parameter `YYYY-MM-DD`, years 0001 to 9999. `field` names it in the problem.
pub fn date(field: &str, given: Option<&str>) -> ApiResult<Option<Date>> {
    let invalid = || ApiError::field(field, "INVALID", "Send the date as YYYY-MM-DD.");
    given.map(|text| parse_date(text).ok_or_else(invalid)).transpose()
}

/// A JSON body of a request, read by [`body`], or of a response.
#[derive(Debug, Clone, Copy)]
pub struct Json<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Validate<Context = ()>> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        content_type(request.headers())?;
        let bytes = Bytes::from_request(request, state).await?;
        body(&bytes).map(Self)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// Reads a request body as strict JSON: one object, no repeated members, no U+0000 in texts, at most
/// [`json::MAX_DEPTH`] levels. Then validates it. The problem names the member that cannot be read, or
/// every one that breaks a rule.
pub fn body<T: DeserializeOwned + Validate<Context = ()>>(bytes: &[u8]) -> ApiResult<T> {
    let read = json::from_slice(bytes, ZeroCharacter::Refused);
    let body: T = read.map_err(|error| refused("body", &error))?;
    body.validate().map_err(|report| violated(&report))?;
    Ok(body)
}

/// The problem for a body that breaks rules, with the first violation of each member.
fn violated(report: &garde::Report) -> ApiError {
    let mut errors: Vec<FieldError> = Vec::new();
    let mut details = Vec::new();
    for (path, error) in report.iter() {
        let field = on_the_wire(&path.to_string());
        if errors.iter().any(|known| known.field == field) {
            continue;
        }
        let own = code_and_sentence(error);
        let (code, detail) = own.map_or_else(
            || (Fault::Invalid.code(), format!("{field} is not what this route takes: {error}.")),
            |(code, sentence)| (code, sentence.to_owned()),
        );
        errors.push(FieldError { field, code: code.to_owned().into() });
        details.push(detail);
    }
    Problem { errors, ..Problem::new(&code::VALIDATION_FAILED, details.join(" ")) }.into()
}

/// Names a member as the body has it: in camel case, below `body`.
fn on_the_wire(path: &str) -> String {
    let mut field = "body".to_owned();
    if !path.is_empty() && !path.starts_with('[') {
        field.push('.');
    }
    let mut words = path.split('_');
    field.push_str(words.next().unwrap_or_default());
    for word in words {
        field.extend(word.chars().take(1).map(|first| first.to_ascii_uppercase()));
        field.extend(word.chars().skip(1));
    }
    field
}

/// The problem for an invalid document; `root` names the document.
pub fn refused(root: &str, error: &json::Error) -> ApiError {
    let field = error.field(root);
    let detail = match error.fault() {
        Fault::Syntax => format!("{field} is not valid JSON: {error}."),
        _ => format!("{field} is not what this route takes: {error}."),
    };
    Problem::field(field, error.fault().code(), detail).into()
}

/// Checks that the media type is JSON, in any case and with any parameters, and returns it.
pub fn content_type(headers: &HeaderMap) -> ApiResult<&str> {
    let mut lines = headers.get_all(CONTENT_TYPE).iter();
    let sent = lines.next().and_then(|line| line.to_str().ok()).unwrap_or_default();
    let is_json = |kind: &Mime| {
        let suffix = kind.suffix().map(|suffix| suffix.as_str());
        kind.type_() == mime::APPLICATION
            && (kind.subtype() == mime::JSON || suffix == Some(mime::JSON.as_str()))
    };
    // White space is allowed before a semicolon, but the parser refuses it.
    let kind = sent.split(';').next().unwrap_or_default().trim();
    if lines.next().is_none() && kind.parse().is_ok_and(|kind| is_json(&kind)) {
        return Ok(sent);
    }
    Err(ApiError::new(&code::UNSUPPORTED_MEDIA_TYPE, "Send the body as application/json."))
}

impl From<BytesRejection> for ApiError {
    fn from(rejection: BytesRejection) -> Self {
        match rejection.status().as_u16() {
            413 => Self::new(&code::PAYLOAD_TOO_LARGE, "The body is larger than this route takes."),
            _ => Self::new(
                &code::MALFORMED_REQUEST,
                "The body was incomplete. Send the request again.",
            ),
        }
    }
}

impl From<PathRejection> for ApiError {
    /// A malformed id names no resource: 404, as for unknown paths.
    fn from(_: PathRejection) -> Self {
        Self::not_found()
    }
}

#[cfg(test)]
mod tests {
    use contracts::rules::violation;

    use super::*;

    #[test]
    fn a_media_type_is_json_in_any_case_and_with_parameters() {
        let read = |line: &str| {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, line.parse().unwrap())]);
            content_type(&headers).is_ok()
        };
        for good in [
            "application/json",
            "Application/JSON",
            "application/json;charset=utf-8",
            "application/json ; charset=\"utf-8\"",
            "application/cloudevents+json",
        ] {
            assert!(read(good), "{good}");
        }
        for bad in ["", "json", "text/json", "application/jsonx", "application/json, text/plain"] {
            assert!(!read(bad), "{bad}");
        }
        assert!(content_type(&HeaderMap::new()).is_err());
    }

    #[derive(Debug, Deserialize, Validate)]
    #[serde(rename_all = "camelCase")]
    struct Order {
        #[garde(length(min = 1), inner(range(max = 9)))]
        room_numbers: Vec<u8>,
        #[garde(dive)]
        last_items: Vec<Item>,
    }

    #[derive(Debug, Deserialize, Validate)]
    #[serde(rename_all = "camelCase")]
    struct Item {
        #[garde(length(min = 1), custom(known))]
        sold_by: String,
    }

    fn known(name: &str, _: &()) -> garde::Result {
        let is_known = name == "us";
        if is_known { Ok(()) } else { Err(violation(Fault::Unknown, "Send `us`.")) }
    }

    #[test]
    fn a_problem_names_every_member_that_breaks_a_rule_once() {
        let text = br#"{"roomNumbers": [1, 10], "lastItems": [{"soldBy": "us"}, {"soldBy": "x"}, {"soldBy": ""}]}"#;
        let ApiError(problem) = body::<Order>(text).unwrap_err();
        let named: Vec<_> =
            problem.errors.iter().map(|error| (&*error.field, &*error.code)).collect();
        let expected = [
            ("body.lastItems[1].soldBy", "UNKNOWN"),
            ("body.lastItems[2].soldBy", "UNKNOWN"),
            ("body.roomNumbers[1]", "INVALID"),
        ];
        assert_eq!(named, expected);
        assert_eq!(
            problem.detail,
            "Send `us`. Send `us`. body.roomNumbers[1] is not what this route takes: greater than 9."
        );
        assert!(body::<Order>(br#"{"roomNumbers": [1], "lastItems": []}"#).is_ok());
    }
}
