//! Problem responses (RFC 9457) that several operations share.

use contracts::problem::{Problem, code};
use service_kit::postgres::StoreError;
use service_kit::problem::ApiError;
use utoipa::ToResponse;

pub(crate) mod upstream;

/// Every error of every route.
#[derive(Debug, ToResponse)]
#[response(
    description = "A problem (RFC 9457); `code` says which",
    content_type = "application/problem+json"
)]
#[expect(dead_code, reason = "its type is the schema")]
pub(crate) struct AnyProblem(Problem);

/// Maps an error of the durable store: 503 `STORE_UNAVAILABLE` where it is not available, 400 where a
/// value of the request cannot be stored, else 500.
pub(crate) fn unavailable(error: StoreError) -> ApiError {
    error.into_problem(&code::STORE_UNAVAILABLE)
}
