//! Problems as responses: the error type of handlers.

use axum::response::{IntoResponse, Response};
use contracts::problem::{Code, Problem, code};
use http::StatusCode;

/// A problem as a response. The request layer adds the members that depend on the request, and writes
/// the body.
#[derive(Debug, Clone)]
pub struct ApiError(pub Box<Problem>);

pub type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    pub fn new(code: &'static Code, detail: impl Into<std::borrow::Cow<'static, str>>) -> Self {
        Problem::new(code, detail).into()
    }

    /// A 400 that names one field of the request.
    pub fn field(name: &str, code: &'static str, detail: &'static str) -> Self {
        Problem::field(name, code, detail).into()
    }

    /// The problem for resources that do not exist or belong to another tenant.
    pub fn not_found() -> Self {
        Self::new(&code::RESOURCE_NOT_FOUND, "There is no such resource. Check the id.")
    }

    /// Logs the error with its causes, and returns a 500 without them.
    pub fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error = %chain(error), "A request failed with an internal error.");
        Self::new(&code::INTERNAL, "The request failed on our side and was logged. Try again.")
    }
}

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// An error and its causes, in one line. A cause that the error before it ends with is not repeated.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.map(ToString::to_string).fold(error.to_string(), |text, cause| {
        if text.ends_with(&cause) { text } else { format!("{text}: {cause}") }
    })
}

/// The problem for a response without a body, as routers and other layers make it.
pub(crate) fn for_status(status: StatusCode) -> Problem {
    match status.as_u16() {
        404 => Problem::new(
            &code::RESOURCE_NOT_FOUND,
            "There is no resource at this path. Check the path and the API reference.",
        ),
        405 => Problem::new(
            &code::METHOD_NOT_ALLOWED,
            "This path does not support that method; `Allow` lists those it does.",
        ),
        406 => {
            Problem::new(&code::NOT_ACCEPTABLE, "None of the media types in `Accept` is available.")
        }
        408 => Problem::new(
            &code::REQUEST_TIMEOUT,
            "The request took too long to arrive. Send it again.",
        ),
        413 => Problem::new(&code::PAYLOAD_TOO_LARGE, "The body is larger than this route takes."),
        415 => Problem::new(&code::UNSUPPORTED_MEDIA_TYPE, "Send the body as application/json."),
        422 => Problem::new(
            &code::UNPROCESSABLE,
            "The body is valid JSON but not what this route takes.",
        ),
        status if status < 500 => {
            let mut problem = Problem::new(&code::REQUEST_REJECTED, "The request was rejected.");
            problem.status = status;
            problem
        }
        503 => Problem::new(&code::UNAVAILABLE, "The server cannot do this now. Try again."),
        _ => Problem::new(&code::INTERNAL, "The request failed on our side. Try again."),
    }
}
