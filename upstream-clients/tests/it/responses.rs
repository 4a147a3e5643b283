//! Parsing and size limits of responses.

use std::time::Duration;

use serde_json::Value;
use upstream_clients::{Call, CallError, CallStack, Limits};

use crate::test_server::{LIMITS, Reaction, Server, context, ok, stack};

async fn error(stack: &CallStack) -> CallError {
    stack.get::<Value, _>(&context(), "/x", &[("", ""); 0]).await.unwrap_err()
}

#[tokio::test]
async fn a_get_sends_credentials_tenant_and_deadline() {
    let server = Server::start(|_, _| Reaction::Respond(ok("null"))).await;
    let context = context();
    let query = [("propertyId", "ppt_1"), ("to", "a b")];
    stack(&server, LIMITS).get::<(), _>(&context, "/api/v1/x", &query).await.unwrap();
    let request = server.seen.requests().remove(0);
    let (port, tenant) = (server.url.port().unwrap(), context.tenant.unwrap());
    assert!(request.starts_with("GET /api/v1/x?propertyId=ppt_1&to=a+b HTTP/1.1\r\n"));
    let expected = [
        format!("host: localhost:{port}\r\n"),
        "authorization: Bearer for-billing\r\n".to_owned(),
        format!("x-request-id: {}\r\n", context.request_id),
        format!("traceparent: {}\r\n", context.traceparent),
        format!("x-tenant-id: {tenant}\r\n"),
    ];
    for line in expected {
        assert_eq!(request.matches(&line).count(), 1, "{line} in {request}");
    }
    let left = request.lines().find_map(|line| line.strip_prefix("x-deadline-ms: ")).unwrap();
    assert!((4000..=5000).contains(&left.parse::<u64>().unwrap()), "{left}");
}

#[tokio::test]
async fn a_post_sends_body_and_idempotency_key() {
    let server = Server::start(|_, _| Reaction::Respond(ok(r#"{"done":true}"#))).await;
    let body = r#"{"reason":"late"}"#;
    let call = Call { path: "/do", body: body.into(), idempotency_key: Some("key-of-sixteen-c") };
    let reply = stack(&server, LIMITS).post::<Value>(&context(), &call).await.unwrap();
    assert_eq!((reply.status, &reply.body[..]), (200, &br#"{"done":true}"#[..]));
    let request = server.seen.requests().remove(0);
    assert!(request.starts_with("POST /do HTTP/1.1\r\n") && request.ends_with(body));
    for line in ["content-type: application/json\r\n", "idempotency-key: key-of-sixteen-c\r\n"] {
        assert!(request.contains(line), "{line} in {request}");
    }
}

#[tokio::test]
async fn an_empty_body_is_null_and_the_connection_is_kept() {
    let server =
        Server::start(|_, _| Reaction::Respond(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec())).await;
    let stack = stack(&server, LIMITS);
    for _ in 0..2 {
        let call = Call { path: "/do", body: "{}".into(), idempotency_key: None };
        let reply = stack.post::<()>(&context(), &call).await.unwrap();
        assert_eq!((reply.status, reply.body.len()), (204, 0));
    }
    assert_eq!(server.seen.connections(), 1);
}

#[tokio::test]
async fn a_chunked_response_is_reassembled() {
    let server = Server::start(|_, _| {
        let mut answer =
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n[\r\n".to_vec();
        for number in 0..2000 {
            let piece = format!("{number},");
            answer.extend(format!("{:x}\r\n{piece}\r\n", piece.len()).bytes());
        }
        answer.extend(b"2\r\n0]\r\n0\r\n\r\n");
        Reaction::Respond(answer)
    })
    .await;
    let stack = stack(&server, LIMITS);
    for _ in 0..2 {
        let numbers: Vec<u32> = stack.get(&context(), "/x", &[("", ""); 0]).await.unwrap();
        assert_eq!((numbers.len(), numbers[1999]), (2001, 1999));
    }
    assert_eq!(server.seen.connections(), 1);
}

#[tokio::test]
async fn a_truncated_body_is_an_error() {
    let server = Server::start(|_, _| {
        Reaction::RespondThenClose(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345".to_vec())
    })
    .await;
    let error = error(&stack(&server, LIMITS)).await;
    assert!(matches!(error, CallError::Unavailable(_)), "{error:?}");
    assert_eq!(server.seen.requests().len(), 1);
}

#[tokio::test]
async fn a_response_that_is_not_http_is_an_error() {
    let server =
        Server::start(|_, _| Reaction::Respond(b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec())).await;
    let error = error(&stack(&server, LIMITS)).await;
    assert!(matches!(error, CallError::Unavailable(_)), "{error:?}");
}

#[tokio::test]
async fn too_large_a_content_length_is_rejected_unread() {
    let server = Server::start(|_, _| {
        Reaction::Respond(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n".to_vec())
    })
    .await;
    let error = error(&stack(&server, LIMITS)).await;
    assert!(matches!(error, CallError::TooLarge { limit: 65_536 }), "{error:?}");
    server.seen.closed_are(1).await;
}

#[tokio::test]
async fn a_body_without_end_is_read_up_to_the_limit() {
    let server = Server::start(|_, _| {
        let mut answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        answer.extend(format!("{:x}\r\n{}\r\n", 40_000, " ".repeat(40_000)).repeat(2).bytes());
        Reaction::Respond(answer)
    })
    .await;
    let error = error(&stack(&server, LIMITS)).await;
    assert!(matches!(error, CallError::TooLarge { limit: 65_536 }), "{error:?}");
    server.seen.closed_are(1).await;
}

#[tokio::test]
async fn a_dripping_response_ends_with_the_attempt() {
    let server =
        Server::start(|_, _| Reaction::Drip(b"HTTP/1.1 200 OK\r\nx: y\r\n".to_vec(), 10_000));
    let server = server.await;
    let limits = Limits { attempt: Duration::from_millis(200), ..LIMITS };
    let error = error(&stack(&server, limits)).await;
    assert!(matches!(error, CallError::Timeout), "{error:?}");
    server.seen.closed_are(1).await;
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let server = Server::start(|_, _| {
        Reaction::Respond(
            b"HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n".to_vec(),
        )
    })
    .await;
    let error = error(&stack(&server, LIMITS)).await;
    assert!(matches!(error, CallError::Status { status: 302, problem: None }), "{error:?}");
    assert_eq!(server.seen.requests().len(), 1);
}

#[tokio::test]
async fn a_contract_violation_names_the_member_and_keeps_the_connection() {
    #[derive(Debug, serde::Deserialize)]
    struct Shape {
        #[expect(dead_code, reason = "only read")]
        count: u32,
    }
    let server = Server::start(|_, _| Reaction::Respond(ok(r#"{"count":"three"}"#))).await;
    let stack = stack(&server, LIMITS);
    for _ in 0..2 {
        let error = stack.get::<Shape, _>(&context(), "/x", &[("", ""); 0]).await.unwrap_err();
        assert!(matches!(&error, CallError::SchemaDrift { path } if path == "count"), "{error:?}");
    }
    assert_eq!(server.seen.connections(), 1);
}
