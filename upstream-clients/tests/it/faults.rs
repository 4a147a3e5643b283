//! Faulty upstreams: the call ends within its deadline, its connection is not reused, its slot is
//! released, and the next call succeeds.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep_until};
use upstream_clients::{CallContext, CallError, CallStack, Limits};

use crate::test_server::{LIMITS, Reaction, Server, context, ok, stack};

/// Shorter than the attempt's timeout.
const DEADLINE: Duration = Duration::from_millis(300);
/// By which a call may end later.
const TOLERANCE: Duration = Duration::from_millis(100);

async fn get(stack: &CallStack, context: &CallContext, path: &str) -> Result<Value, CallError> {
    stack.get(context, path, &[("", ""); 0]).await
}

/// The path selects the fault; other paths succeed.
fn faulty(request: &str) -> Reaction {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n";
    match request.split(' ').nth(1) {
        Some("/silence") => Reaction::Silence,
        Some("/reset") => Reaction::Close,
        Some("/half-head") => Reaction::RespondThenClose(head[..20].into()),
        Some("/half-body") => Reaction::RespondThenClose(format!("{head}[1, 2").into_bytes()),
        Some("/stuck-body") => Reaction::Drip(format!("{head}[1, 2").into_bytes(), 1),
        Some("/drip-head") => Reaction::Drip(b"HTTP/1.1 200 OK\r\nx: y\r\n".to_vec(), 10_000),
        Some("/drip-body") => Reaction::Trickle(head.into(), b' ', 100_000),
        Some("/huge") => Reaction::Flood(100 << 20),
        _ => Reaction::Respond(ok("[]")),
    }
}

/// Ends at the deadline.
async fn times_out(fault: &str) {
    ends(fault, DEADLINE, |error| matches!(error, CallError::Timeout)).await;
}

/// Ends because of the fault, and soon: waiting for the deadline would slow down every call, a busy
/// machine not all of them.
async fn fails(fault: &str, expected: fn(&CallError) -> bool) {
    let mut quickest = Duration::MAX;
    for _ in 0..3 {
        let started = Instant::now();
        ends(fault, Duration::from_secs(15), expected).await;
        quickest = quickest.min(started.elapsed());
    }
    assert!(quickest < DEADLINE + TOLERANCE, "{fault}: late");
}

async fn ends(fault: &str, deadline: Duration, expected: fn(&CallError) -> bool) {
    let server = Server::answering(faulty).await;
    let stack = stack(&server, Limits { attempt: Duration::from_secs(20), ..LIMITS });
    let mut context = context();
    context.deadline = Instant::now() + deadline;
    // If the machine stalls, both are due at once, and the call is looked at first.
    let error = tokio::select! {
        biased;
        outcome = get(&stack, &context, fault) => outcome.unwrap_err(),
        () = sleep_until(context.deadline + TOLERANCE) => panic!("{fault}: late"),
    };
    assert!(expected(&error), "{fault}: {error:?}");
    server.seen.closed_are(1).await;
    assert_eq!(stack.report().in_flight, 0, "{fault}: its slot is not released");

    context.deadline = Instant::now() + Duration::from_secs(5);
    get(&stack, &context, "/well").await.unwrap();
    assert_eq!(server.seen.connections(), 2, "{fault}: the connection was reused");
    // Only what the socket buffers hold, not the whole body.
    assert!(server.seen.flooded() < 16 << 20, "{} bytes were read", server.seen.flooded());
}

#[tokio::test]
async fn an_upstream_that_takes_the_request_and_is_silent() {
    times_out("/silence").await;
}

#[tokio::test]
async fn an_upstream_that_drips_its_head() {
    times_out("/drip-head").await;
}

#[tokio::test]
async fn an_upstream_that_drips_its_body_byte_by_byte() {
    times_out("/drip-body").await;
}

#[tokio::test]
async fn an_upstream_that_stops_in_its_body() {
    times_out("/stuck-body").await;
}

#[tokio::test]
async fn an_upstream_that_disconnects_in_the_body() {
    fails("/half-body", |error| matches!(error, CallError::Unavailable(_))).await;
}

#[tokio::test]
async fn an_upstream_that_disconnects_in_the_head() {
    fails("/half-head", |error| matches!(error, CallError::Unavailable(_))).await;
}

#[tokio::test]
async fn an_upstream_that_disconnects_without_a_response() {
    fails("/reset", |error| matches!(error, CallError::Unavailable(_))).await;
}

#[tokio::test]
async fn an_upstream_that_answers_a_hundred_megabytes() {
    fails("/huge", |error| matches!(error, CallError::TooLarge { .. })).await;
}
