//! A whole response and what tests assert of every one.

use axum::body::Body;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use serde_json::Value;

#[derive(Debug)]
pub(crate) struct TestResponse {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// `null` if the body is not JSON.
    pub(crate) body: Value,
}

impl TestResponse {
    pub(crate) async fn of(response: http::Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Self { status: parts.status, headers: parts.headers, body }
    }

    /// Asserts the status.
    #[track_caller]
    pub(crate) fn status(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.body);
        self
    }

    /// Asserts 200 and returns the body.
    #[track_caller]
    pub(crate) fn ok<T: DeserializeOwned>(self) -> T {
        serde_json::from_value(self.status(200).body).unwrap()
    }

    /// Asserts a complete problem: its status, code, form and ids.
    #[track_caller]
    pub(crate) fn problem(self, status: u16, code: &str) -> Self {
        let Self { headers, body, .. } = &self;
        assert_eq!((self.status.as_u16(), body["code"].as_str()), (status, Some(code)), "{body}");
        assert_eq!(headers["content-type"], "application/problem+json");
        assert_eq!(headers["x-request-id"], body["requestId"].as_str().unwrap());
        assert_eq!(body["traceId"].as_str().unwrap().len(), 32);
        assert!(body["detail"].as_str().unwrap().ends_with('.'), "{}", body["detail"]);
        self
    }

    /// Asserts that the request was refused for this part of it: `query.date`, `body.code`.
    #[track_caller]
    pub(crate) fn invalid(self, field: &str) -> Self {
        let response = self.problem(400, "MELMASTOON.GENERAL.VALIDATION_FAILED");
        assert_eq!(response.body["errors"][0]["field"], field, "{}", response.body);
        response
    }

    /// A header's value, empty if it is absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Whether the response of an earlier request was sent again.
    pub(crate) fn is_replay(&self) -> bool {
        self.header("idempotency-replayed") == "true"
    }
}
