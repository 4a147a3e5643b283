//! Reuse of connections, and what may be sent twice.

use std::time::Duration;

use tokio::time::timeout;
use upstream_clients::{Call, CallError, Limits};
use url::Url;

use crate::test_server::{LIMITS, Reaction, Server, context, ok, stack, stack_at, trusting_nobody};

fn post(key: Option<&str>) -> Call<'_> {
    Call { path: "/do", body: "{}".into(), idempotency_key: key }
}

#[tokio::test]
async fn one_connection_serves_calls_that_follow_each_other() {
    let server = Server::start(|_, request| Reaction::Respond(ok(&request.to_string()))).await;
    let stack = stack(&server, LIMITS);
    for expected in 0..5 {
        let answer: usize = stack.get(&context(), "/n", &[("", ""); 0]).await.unwrap();
        assert_eq!(answer, expected);
    }
    assert_eq!(server.seen.connections(), 1);
}

/// Callers move many calls before they poll them.
#[tokio::test]
async fn a_call_is_small() {
    let stack = stack_at("http://127.0.0.1:9".parse().unwrap(), LIMITS, trusting_nobody());
    let context = context();
    let bytes = size_of_val(&stack.get::<u8, _>(&context, "/n", &[("", ""); 0]));
    assert!(bytes <= 4096, "{bytes} bytes");
}

#[tokio::test]
async fn concurrent_calls_have_a_connection_each_and_both_are_kept() {
    let server = Server::start(|connection, _| match connection {
        0 => Reaction::Drip(ok("1"), 1),
        _ => Reaction::Respond(ok("1")),
    })
    .await;
    let stack = stack(&server, LIMITS);
    let context = context();
    for _ in 0..3 {
        let both = futures_util::future::join(
            stack.get::<u8, _>(&context, "/n", &[("", ""); 0]),
            stack.get::<u8, _>(&context, "/n", &[("", ""); 0]),
        )
        .await;
        assert!(both.0.is_ok() && both.1.is_ok());
    }
    assert_eq!(server.seen.connections(), 2);
}

#[tokio::test]
async fn a_connection_the_upstream_closed_while_idle_is_not_used() {
    let server = Server::start(|_, _| Reaction::RespondThenClose(ok("1"))).await;
    let stack = stack(&server, LIMITS);
    for turn in 1..=3 {
        // Without a key nothing may be sent twice: what arrives is counted.
        stack.post::<u8>(&context(), &post(None)).await.unwrap();
        server.seen.closed_are(turn).await;
    }
    assert_eq!(server.seen.requests().len(), 3);
}

/// The second request of the first connection meets a close; other connections answer.
fn closes_on_second(connection: usize, request: usize) -> Reaction {
    if (connection, request) == (0, 1) { Reaction::Close } else { Reaction::Respond(ok("1")) }
}

#[tokio::test]
async fn a_get_on_a_closing_connection_is_resent() {
    let server = Server::start(closes_on_second).await;
    let stack = stack(&server, LIMITS);
    for _ in 0..2 {
        stack.get::<u8, _>(&context(), "/n", &[("", ""); 0]).await.unwrap();
    }
    assert_eq!((server.seen.requests().len(), server.seen.connections()), (3, 2));
}

#[tokio::test]
async fn a_post_without_a_key_is_never_sent_twice() {
    let server = Server::start(closes_on_second).await;
    let stack = stack(&server, Limits { retries: 1, ..LIMITS });
    stack.post::<u8>(&context(), &post(None)).await.unwrap();
    let error = stack.post::<u8>(&context(), &post(None)).await.unwrap_err();
    assert!(matches!(error, CallError::Unavailable(_)), "{error:?}");
    assert_eq!(server.seen.requests().len(), 2);
}

#[tokio::test]
async fn a_post_with_a_key_is_resent_with_the_same_key() {
    let server = Server::start(closes_on_second).await;
    let stack = stack(&server, Limits { retries: 1, ..LIMITS });
    for _ in 0..2 {
        stack.post::<u8>(&context(), &post(Some("key-of-sixteen-c"))).await.unwrap();
    }
    let requests = server.seen.requests();
    assert_eq!(requests.len(), 3);
    assert!(
        requests.iter().all(|request| request.contains("idempotency-key: key-of-sixteen-c\r\n"))
    );
}

#[tokio::test]
async fn a_post_without_retries_is_not_sent_twice_even_with_a_key() {
    let server = Server::start(closes_on_second).await;
    let stack = stack(&server, LIMITS);
    stack.post::<u8>(&context(), &post(Some("key-of-sixteen-c"))).await.unwrap();
    let error = stack.post::<u8>(&context(), &post(Some("key-of-sixteen-c"))).await.unwrap_err();
    assert!(matches!(error, CallError::Unavailable(_)), "{error:?}");
    assert_eq!(server.seen.requests().len(), 2);
}

#[tokio::test]
async fn connection_close_is_honoured() {
    let closing = |_, _| {
        Reaction::Respond(
            b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\n1".to_vec(),
        )
    };
    let server = Server::start(closing).await;
    let stack = stack(&server, LIMITS);
    for _ in 0..2 {
        stack.get::<u8, _>(&context(), "/n", &[("", ""); 0]).await.unwrap();
    }
    server.seen.closed_are(2).await;
    assert_eq!(server.seen.connections(), 2);
}

#[tokio::test]
async fn a_cancelled_call_closes_its_connection_and_the_next_has_another() {
    let server = Server::start(|connection, _| match connection {
        0 => Reaction::Silence,
        _ => Reaction::Respond(ok("1")),
    })
    .await;
    let stack = stack(&server, LIMITS);
    let context = context();
    let call = stack.get::<u8, _>(&context, "/n", &[("", ""); 0]);
    tokio::select! {
        answer = call => panic!("unexpected response: {answer:?}"),
        () = server.seen.requests_are(1) => {}
    }
    server.seen.closed_are(1).await;
    stack.get::<u8, _>(&context, "/n", &[("", ""); 0]).await.unwrap();
    assert_eq!(server.seen.connections(), 2);
}

#[tokio::test]
async fn an_upstream_that_refuses_is_unavailable_at_once() {
    let server = Server::start(|_, _| Reaction::Close).await;
    let url = server.url.clone();
    drop(server);
    let stack = stack_at(url, LIMITS, trusting_nobody());
    let context = context();
    let call = stack.get::<u8, _>(&context, "/n", &[("", ""); 0]);
    let error = timeout(Duration::from_secs(2), call).await.unwrap().unwrap_err();
    assert!(matches!(error, CallError::Unavailable(_)), "{error:?}");
}

#[tokio::test]
async fn an_address_that_never_answers_ends_with_the_connect_timeout() {
    // A listener whose queue is full takes no more connections: 1 is the shortest there is.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(Ok(connection)) =
        timeout(Duration::from_millis(100), tokio::net::TcpStream::connect(address)).await
    {
        queued.push(connection);
    }
    let url = Url::parse(&format!("http://{address}/")).unwrap();
    let stack = stack_at(url, LIMITS, trusting_nobody());
    let started = tokio::time::Instant::now();
    let error = stack.get::<u8, _>(&context(), "/n", &[("", ""); 0]).await.unwrap_err();
    assert!(matches!(error, CallError::Timeout), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(2));
}
