//! Concurrency limit, breaker and retries per tenant, over real connections.

use std::time::Duration;

use tokio::time::Instant;
use upstream_clients::{CallContext, CallError, CallStack, Limits, UpstreamReport};

use crate::test_server::{LIMITS, Reaction, Server, context, context_of, ok, stack};

async fn get(stack: &CallStack, context: &CallContext) -> Result<u8, CallError> {
    stack.get(context, "/n", &[("", ""); 0]).await
}

fn answer(status: &str, headers: &str) -> Reaction {
    Reaction::Respond(
        format!("HTTP/1.1 {status}\r\n{headers}content-length: 0\r\n\r\n").into_bytes(),
    )
}

/// Requests of the first tenant fail, all others succeed.
fn refuses_one(request: &str) -> Reaction {
    let one = context_of(1).tenant.unwrap();
    if request.contains(one.as_str()) {
        answer("500 Broken", "")
    } else {
        Reaction::Respond(ok("1"))
    }
}

#[tokio::test]
async fn a_tenant_whose_calls_always_fail_blocks_only_itself() {
    let server = Server::answering(refuses_one).await;
    let stack = stack(&server, LIMITS);
    let (one, two) = (context_of(1), context_of(2));
    // Longer than the second a breaker needs to open.
    let until = Instant::now() + Duration::from_secs(4);
    let mut outcome = get(&stack, &one).await;
    while !matches!(outcome, Err(CallError::BreakerOpen)) {
        assert!(Instant::now() < until, "the breaker stayed closed: {outcome:?}");
        outcome = get(&stack, &one).await;
        get(&stack, &two).await.unwrap();
    }
    let UpstreamReport { breaker, tenants_shut_out, .. } = stack.report();
    assert_eq!((breaker, tenants_shut_out), ("open", 1));
    for _ in 0..20 {
        get(&stack, &two).await.unwrap();
    }
}

#[tokio::test]
async fn a_flood_of_one_tenant_leaves_room_for_another() {
    let server = Server::start(|_, _| Reaction::Silence).await;
    let stack = stack(&server, Limits { concurrency: 12, ..LIMITS });
    let (one, two) = (context_of(1), context_of(2));
    let flood = futures_util::future::join_all((0..30).map(|_| get(&stack, &one)));
    let other = async {
        server.seen.requests_are(8).await;
        assert_eq!(stack.report().in_flight, 8);
        get(&stack, &two).await
    };
    tokio::select! {
        _ = flood => panic!("unexpected response"),
        outcome = other => panic!("unexpected response: {outcome:?}"),
        () = server.seen.requests_are(9) => {}
    }
    // Dropped calls release their slots and do not change the limit.
    let UpstreamReport { in_flight, limit, .. } = stack.report();
    assert_eq!((in_flight, limit), (0, 12));
}

#[tokio::test]
async fn a_call_above_the_limit_is_refused_at_once() {
    let server = Server::start(|_, _| Reaction::Silence).await;
    let stack = stack(&server, Limits { concurrency: 1, ..LIMITS });
    let (one, two) = (context_of(1), context_of(2));
    let holds = get(&stack, &one);
    let refused = async {
        server.seen.requests_are(1).await;
        get(&stack, &two).await
    };
    tokio::select! {
        outcome = holds => panic!("unexpected response: {outcome:?}"),
        outcome = refused => assert!(matches!(outcome, Err(CallError::ConcurrencyLimit))),
    }
}

/// The remaining milliseconds that the upstream received.
fn deadline_ms(request: &str) -> u64 {
    let line = request.lines().find_map(|line| line.strip_prefix("x-deadline-ms: "));
    line.unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_503_is_retried_with_the_remaining_time() {
    let server = Server::start(|_, request| match request {
        0 => answer("503 Busy", ""),
        _ => Reaction::Respond(ok("1")),
    })
    .await;
    let stack = stack(&server, Limits { retries: 1, ..LIMITS });
    assert_eq!(get(&stack, &context()).await.unwrap(), 1);
    let deadlines: Vec<u64> =
        server.seen.requests().iter().map(|request| deadline_ms(request)).collect();
    // The shortest wait before a retry is 5 ms.
    assert!(deadlines.len() == 2 && deadlines[1] <= deadlines[0] - 5, "{deadlines:?}");
}

#[tokio::test]
async fn retry_after_is_honoured_if_it_fits_and_otherwise_not_retried() {
    let server = Server::start(|_, request| match request % 2 {
        0 => answer("503 Busy", "retry-after: 1\r\n"),
        _ => Reaction::Respond(ok("1")),
    })
    .await;
    let stack = stack(&server, Limits { retries: 1, ..LIMITS });
    let started = Instant::now();
    get(&stack, &context()).await.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert_eq!(server.seen.requests().len(), 2);

    let mut hasty = context();
    hasty.deadline = Instant::now() + Duration::from_millis(900);
    let error = get(&stack, &hasty).await.unwrap_err();
    assert!(matches!(error, CallError::Status { status: 503, .. }), "{error:?}");
    assert_eq!(server.seen.requests().len(), 3);
}

#[tokio::test]
async fn a_report_shows_the_upstreams_state() {
    let server = Server::start(|_, request| match request {
        2 => answer("500 Broken", ""),
        _ => Reaction::Respond(ok("1")),
    })
    .await;
    let stack = stack(&server, LIMITS);
    let before = stack.report();
    assert_eq!((before.last_call, before.latency), (None, None));
    for outcome in ["ok", "ok", "UPSTREAM_ERROR"] {
        let _ = get(&stack, &context()).await;
        assert_eq!(stack.report().last_call.unwrap().outcome, outcome);
    }
    let report = serde_json::to_value(stack.report()).unwrap();
    assert_eq!(report["upstream"], "billing");
    assert_eq!((&report["breaker"], &report["limit"]), (&"closed".into(), &16.into()));
    let latency = stack.report().latency.unwrap();
    assert!(0.0 < latency.p50_ms && latency.p50_ms <= latency.p99_ms, "{latency:?}");
}
