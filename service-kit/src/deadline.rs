//! `X-Deadline-Ms`: a service stops working on an answer nobody waits for.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use contracts::problem::code;
use contracts::{deadline, headers};
use tokio::time::Instant;

use crate::problem::ApiError;

/// The instant by which the caller needs the answer; handlers that call further read it.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(pub Instant);

/// Middleware: ends the request at its deadline. Without the header there is none.
pub async fn enforce(mut request: Request, next: Next) -> Response {
    let header = request.headers().get(headers::DEADLINE_MS);
    let Some(left) = header.and_then(|value| value.to_str().ok()).and_then(deadline::parse) else {
        return next.run(request).await;
    };
    let deadline = Instant::now() + left;
    request.extensions_mut().insert(Deadline(deadline));
    match tokio::time::timeout_at(deadline, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::new(&code::DEADLINE_EXCEEDED, "The deadline in X-Deadline-Ms passed.")
            .into_response(),
    }
}
