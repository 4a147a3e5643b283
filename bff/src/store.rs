//! The answer to a request that the durable store (Postgres) did not serve.

use contracts::problem::code;
use service_kit::postgres::StoreError;
use service_kit::problem::ApiError;

/// 503 with the gateway's own code where the store is not available, 400 where a value of the
/// request cannot be stored, else 500.
pub(crate) fn unavailable(error: StoreError) -> ApiError {
    error.into_problem(&code::STORE_UNAVAILABLE)
}
