//! `POST /internal/events`: what the platform tells this service, in the Pub/Sub push form.
//!
//! No kind is handled yet. An event nobody here waits for is acknowledged, so that it is not
//! delivered again; what is no event is refused, and ends in the dead-letter stream.

use http::StatusCode;
use metrics::counter;
use service_kit::extract::Json;
use service_kit::problem::ApiResult;
use service_kit::push::Push;

#[cfg(test)]
mod tests;

/// Acknowledges with 204.
pub(crate) async fn take_event(Json(push): Json<Push>) -> ApiResult<StatusCode> {
    let event = push.event()?;
    tracing::debug!(kind = event.kind, id = %event.id, "An event that nothing here waits for.");
    counter!("housekeeping_event_consumed_total", "outcome" => "ignored").increment(1);
    Ok(StatusCode::NO_CONTENT)
}
