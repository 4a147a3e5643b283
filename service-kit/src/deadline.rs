//! `X-Deadline-Ms`: a service stops working on an answer nobody waits for.

use std::time::Duration;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use contracts::problem::code;
use contracts::{deadline, headers};
use tokio::time::{Instant, timeout_at};

use crate::problem::ApiError;

#[cfg(test)]
mod tests;

tokio::task_local! {
    /// The instant by which the caller of this task's request needs the answer.
    static DEADLINE: Instant;
}

/// What is left for the request that this task works on; `None` where its caller set no deadline.
pub fn left() -> Option<Duration> {
    DEADLINE.try_with(|deadline| deadline.saturating_duration_since(Instant::now())).ok()
}

/// Middleware: ends the request at its deadline. Without the header there is none.
pub async fn enforce(request: Request, next: Next) -> Response {
    let header = request.headers().get(headers::DEADLINE_MS);
    let Some(left) = header.and_then(|value| value.to_str().ok()).and_then(deadline::parse) else {
        return next.run(request).await;
    };
    let deadline = Instant::now() + left;
    let answering = DEADLINE.scope(deadline, next.run(request));
    match timeout_at(deadline, answering).await {
        Ok(response) if !is_too_late(&response, deadline) => response,
        _ => ApiError::new(&code::DEADLINE_EXCEEDED, "The deadline in X-Deadline-Ms passed.")
            .into_response(),
    }
}

/// Whether what went wrong is that the deadline passed: what works for the request ends at it too,
/// and may be heard of before the timer is.
fn is_too_late(response: &Response, deadline: Instant) -> bool {
    response.status().is_server_error() && Instant::now() >= deadline
}
