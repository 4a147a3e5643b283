//! A read that takes long is asked a second time, where that is switched on.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::timeout;
use upstream_clients::{Call, CallError, CallStack, Limits};

use crate::house::{Act, LIMITS, Server, context, ok, stack};

const SOON: Limits = Limits { hedge: Some(Duration::from_millis(50)), ..LIMITS };

async fn get(stack: &CallStack, path: &str) -> Result<u64, CallError> {
    stack.get(&context(), path, &[("", ""); 0]).await
}

/// What is asked at `/slow` meets `first`, then `second`; all else is answered.
async fn server(first: Act, second: Act) -> Server {
    let asked = AtomicUsize::new(0);
    Server::answering(move |request| {
        if !request.contains(" /slow ") {
            return Act::Answer(ok("1"));
        }
        if asked.fetch_add(1, Ordering::SeqCst) == 0 { first.clone() } else { second.clone() }
    })
    .await
}

/// A stack that has made calls enough to afford a few hedges.
async fn saved_up(server: &Server, limits: Limits) -> CallStack {
    let stack = stack(server, limits);
    for _ in 0..100 {
        get(&stack, "/n").await.unwrap();
    }
    stack
}

fn asked(server: &Server) -> usize {
    server.seen.requests().iter().filter(|request| request.contains(" /slow ")).count()
}

#[tokio::test]
async fn the_second_answer_wins_and_the_first_exchange_is_dropped() {
    let server = server(Act::Silence, Act::Answer(ok("2"))).await;
    let stack = saved_up(&server, SOON).await;
    assert_eq!(get(&stack, "/slow").await.unwrap(), 2);
    server.seen.closed_are(1).await;
    assert_eq!((asked(&server), stack.report().in_flight), (2, 0));
}

#[tokio::test]
async fn without_the_setting_there_is_no_second() {
    let server = server(Act::Silence, Act::Answer(ok("2"))).await;
    let stack = saved_up(&server, LIMITS).await;
    assert!(timeout(Duration::from_millis(200), get(&stack, "/slow")).await.is_err());
    assert_eq!(asked(&server), 1);
}

#[tokio::test]
async fn a_change_is_never_hedged() {
    let server = server(Act::Silence, Act::Answer(ok("2"))).await;
    let stack = saved_up(&server, SOON).await;
    let key = Some("key-of-sixteen-c");
    let call = Call { path: "/slow", body: "{}".into(), idempotency_key: key };
    let context = context();
    let change = stack.post::<u64>(&context, &call);
    assert!(timeout(Duration::from_millis(200), change).await.is_err());
    assert_eq!(asked(&server), 1);
}

#[tokio::test]
async fn a_second_that_fails_leaves_it_to_the_first() {
    // Half a second in pieces.
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 19\r\n\r\n".to_vec();
    let server = server(Act::Trickle(head, b'1', 19), Act::Close).await;
    let stack = saved_up(&server, SOON).await;
    assert_eq!(get(&stack, "/slow").await.unwrap(), 1_111_111_111_111_111_111);
    // The connection may have been a kept one: then the second went out once more.
    assert!((2..=3).contains(&asked(&server)));
}

#[tokio::test]
async fn at_most_one_call_in_twenty_is_hedged() {
    let server = Server::start(|_, _| Act::Answer(ok("1"))).await;
    let stack = stack(&server, Limits { hedge: Some(Duration::ZERO), ..LIMITS });
    for _ in 0..200 {
        get(&stack, "/n").await.unwrap();
    }
    // A call that was answered at once needed none; a hedge that lost may not have been read.
    let requests = server.seen.requests().len();
    assert!((201..=210).contains(&requests), "{requests} requests for 200 calls");
}
