//! What the limit, the breaker and the retries do for whom, over real connections.

use std::time::Duration;

use tokio::time::Instant;
use upstream_clients::{CallContext, CallError, CallStack, Limits, UpstreamReport};

use crate::house::{Act, LIMITS, Server, context, context_of, ok, stack};

async fn get(stack: &CallStack, context: &CallContext) -> Result<u8, CallError> {
    stack.get(context, "/n", &[("", ""); 0]).await
}

fn answer(status: &str, headers: &str) -> Act {
    Act::Answer(format!("HTTP/1.1 {status}\r\n{headers}content-length: 0\r\n\r\n").into_bytes())
}

/// The first tenant's requests are refused, all others answered.
fn refuses_one(request: &str) -> Act {
    let one = context_of(1).tenant.unwrap();
    if request.contains(one.as_str()) { answer("500 Broken", "") } else { Act::Answer(ok("1")) }
}

#[tokio::test]
async fn a_tenant_whose_calls_always_fail_shuts_out_itself_alone() {
    let server = Server::answering(refuses_one).await;
    let stack = stack(&server, LIMITS);
    let (one, two) = (context_of(1), context_of(2));
    // Past the second that a door needs to judge.
    let until = Instant::now() + Duration::from_secs(4);
    let mut outcome = get(&stack, &one).await;
    while !matches!(outcome, Err(CallError::BreakerOpen)) {
        assert!(Instant::now() < until, "the door stayed closed: {outcome:?}");
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
async fn a_flood_of_one_tenant_leaves_places_for_another() {
    let server = Server::start(|_, _| Act::Silence).await;
    let stack = stack(&server, Limits { concurrency: 12, ..LIMITS });
    let (one, two) = (context_of(1), context_of(2));
    let flood = futures_util::future::join_all((0..30).map(|_| get(&stack, &one)));
    let other = async {
        server.seen.requests_are(8).await;
        assert_eq!(stack.report().in_flight, 8);
        get(&stack, &two).await
    };
    tokio::select! {
        _ = flood => panic!("nobody answers"),
        outcome = other => panic!("nobody answers: {outcome:?}"),
        () = server.seen.requests_are(9) => {}
    }
    // Dropped: every place is free again, and nothing was learned from them.
    let UpstreamReport { in_flight, limit, .. } = stack.report();
    assert_eq!((in_flight, limit), (0, 12));
}

#[tokio::test]
async fn a_call_for_which_there_is_no_place_is_refused_at_once() {
    let server = Server::start(|_, _| Act::Silence).await;
    let stack = stack(&server, Limits { concurrency: 1, ..LIMITS });
    let (one, two) = (context_of(1), context_of(2));
    let holds = get(&stack, &one);
    let refused = async {
        server.seen.requests_are(1).await;
        get(&stack, &two).await
    };
    tokio::select! {
        outcome = holds => panic!("nobody answers: {outcome:?}"),
        outcome = refused => assert!(matches!(outcome, Err(CallError::ConcurrencyLimit))),
    }
}

/// Milliseconds left, as the upstream was told.
fn told(request: &str) -> u64 {
    let line = request.lines().find_map(|line| line.strip_prefix("x-deadline-ms: "));
    line.unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_read_that_meets_a_503_is_tried_once_more_with_the_time_that_is_left() {
    let server = Server::start(|_, request| match request {
        0 => answer("503 Busy", ""),
        _ => Act::Answer(ok("1")),
    })
    .await;
    let stack = stack(&server, Limits { retries: 1, ..LIMITS });
    assert_eq!(get(&stack, &context()).await.unwrap(), 1);
    let told: Vec<u64> = server.seen.requests().iter().map(|request| told(request)).collect();
    // The shortest wait before a retry is 5 ms.
    assert!(told.len() == 2 && told[1] <= told[0] - 5, "{told:?}");
}

#[tokio::test]
async fn when_to_come_again_is_obeyed_when_it_fits_and_else_nothing_is_tried() {
    let server = Server::start(|_, request| match request % 2 {
        0 => answer("503 Busy", "retry-after: 1\r\n"),
        _ => Act::Answer(ok("1")),
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
async fn a_report_says_how_the_upstream_stands() {
    let server = Server::start(|_, request| match request {
        2 => answer("500 Broken", ""),
        _ => Act::Answer(ok("1")),
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
