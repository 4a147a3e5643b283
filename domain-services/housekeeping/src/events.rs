//! `POST /internal/events`: receives events in the Pub/Sub push format.
//!
//! No event type is handled yet. Valid events are acknowledged, so that they are not delivered again;
//! invalid ones are refused and end in the dead-letter stream.

use http::StatusCode;
use metrics::counter;
use service_kit::problem::ApiResult;
use service_kit::pubsub_push::Push;

#[cfg(test)]
mod tests;

/// Acknowledges the event with 204.
pub(crate) async fn receive_event(push: Push) -> ApiResult<StatusCode> {
    let event = push.event()?;
    tracing::debug!(kind = event.kind, id = %event.id, "Ignored an event without a handler.");
    counter!("housekeeping_event_consumed_total", "outcome" => "ignored").increment(1);
    Ok(StatusCode::NO_CONTENT)
}
