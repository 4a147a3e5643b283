//! `X-Deadline-Ms`: ends a request once its caller no longer waits for the response.

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
    /// The deadline of the request that this task handles.
    static DEADLINE: Instant;
}

/// Time until the deadline of the request that this task handles; `None` without a deadline.
pub fn remaining() -> Option<Duration> {
    DEADLINE.try_with(|deadline| deadline.saturating_duration_since(Instant::now())).ok()
}

/// Middleware that ends a request at its deadline, if it has the header.
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

/// Whether an error is a consequence of the deadline: statements end at it too, and may fail before the
/// timer fires.
fn is_too_late(response: &Response, deadline: Instant) -> bool {
    response.status().is_server_error() && Instant::now() >= deadline
}
