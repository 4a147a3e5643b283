//! A response that is stored with its idempotency key, and sent again to repeats.

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use contracts::headers::IDEMPOTENCY_REPLAYED;
use contracts::id::PropertyId;
use contracts::problem::{self, Problem};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Deserialize;
use service_kit::problem::ApiError;

/// Status, headers and body, as they are stored.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StoredResponse {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl StoredResponse {
    /// An upstream's JSON response.
    pub(crate) fn json(status: u16, body: Bytes) -> Self {
        Self { status, headers: content_type("application/json"), body }
    }

    /// An upstream's refusal, without the ids of the first request: a repeat gets its own request and
    /// trace ids.
    pub(crate) fn problem(problem: &Problem) -> Self {
        let stored = Problem {
            instance: String::new(),
            trace_id: None,
            request_id: None,
            ..problem.clone()
        };
        let body = serde_json::to_vec(&stored).expect("a problem is plain JSON");
        let headers = content_type(problem::CONTENT_TYPE);
        Self { status: problem.status, headers, body: body.into() }
    }

    /// The response to a repeat.
    pub(crate) fn replayed(self) -> Response {
        let mut response = self.into_response();
        let name = HeaderName::from_static(IDEMPOTENCY_REPLAYED);
        response.headers_mut().insert(name, HeaderValue::from_static("true"));
        response
    }

    /// Property of the change, if one was made and the response has it.
    pub(crate) fn property(&self) -> Option<PropertyId> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Made {
            property_id: PropertyId,
        }
        let is_made = (200..300).contains(&self.status);
        let made = is_made.then(|| serde_json::from_slice::<Made>(&self.body).ok()).flatten();
        made.map(|made| made.property_id)
    }

    /// Returns the problem if the response is one.
    pub(crate) fn as_problem(&self) -> Option<Problem> {
        let is_problem =
            self.headers.get(CONTENT_TYPE).is_some_and(|value| value == problem::CONTENT_TYPE);
        is_problem.then(|| serde_json::from_slice(&self.body).ok()).flatten()
    }
}

impl IntoResponse for StoredResponse {
    fn into_response(self) -> Response {
        if let Some(problem) = self.as_problem() {
            return ApiError::from(problem).into_response();
        }
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK);
        *response.headers_mut() = self.headers;
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

fn content_type(value: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(value))])
}
