//! Real sockets on real listeners, with limits short enough to wait for.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::routing::{get, post};
use futures_util::StreamExt;
use futures_util::future::ready;
use futures_util::stream::once;
use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::request::observed;

mod drain;
mod flow_control;
mod http2;
mod limits;
mod requests;
mod unread;
mod writes;

/// A little more than any limit of these tests: what is still open then stays open.
const TEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Limits that end in half a second what production lets last ten, and keep idle connections.
fn short() -> ConnectionLimits {
    ConnectionLimits {
        first_byte_ms: 500,
        headers_ms: 500,
        body_stall_ms: 500,
        body_total_ms: 1_500,
        write_stall_ms: 500,
        drain_idle_ms: 500,
        ..ConnectionLimits::default()
    }
}

/// A listener with an application that reads bodies, or does not.
struct Listening {
    address: SocketAddr,
    lifecycle: Lifecycle,
}

impl Listening {
    async fn open(limits: ConnectionLimits) -> Self {
        Self::with(ListenerConfig { limits, ..ListenerConfig::unobserved() }, None).await
    }

    async fn with(config: ListenerConfig, client: Option<ClientAddress>) -> Self {
        let app = observed(app(), config.observer.clone());
        let server = match client {
            Some(client) => Server::behind_proxies(app, config, client),
            None => Server::new(app, config),
        };
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let lifecycle = Lifecycle::new();
        server.serve(listener, Plain, &lifecycle);
        Self { address, lifecycle }
    }

    async fn connect(&self) -> Client {
        Client(TcpStream::connect(self.address).await.unwrap())
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.lifecycle.stop();
    }
}

fn app() -> Router {
    let signed_in = async |request: Request| {
        mark_authenticated(request.extensions());
        StatusCode::OK
    };
    Router::new()
        .route("/", get(async || "hello"))
        .route("/echo", post(async |body: Bytes| body))
        .route("/unread", post(async || StatusCode::NO_CONTENT))
        .route("/signed-in", get(signed_in))
        .route("/slow", get(async || sleep(Duration::from_millis(800)).await))
        .route("/large", get(async || vec![b'x'; 64 * 1024 * 1024]))
        .route("/megabyte", get(async || vec![b'x'; 1024 * 1024]))
        .route("/quiet", get(async || quiet()))
}

/// Two parts with a long pause between them.
fn quiet() -> Body {
    let first = once(ready(Ok::<_, Infallible>("first ")));
    Body::from_stream(first.chain(once(last())))
}

/// Comes when every limit of [`short`] but the one for idle connections has passed.
async fn last() -> Result<&'static str, Infallible> {
    sleep(Duration::from_millis(1_700)).await;
    Ok("last")
}

/// One client's socket.
struct Client(TcpStream);

impl Client {
    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// Sends a request and reads its response's head and body.
    async fn get(&mut self, path: &str) -> String {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n")).await;
        self.response().await
    }

    /// One response with a length.
    async fn response(&mut self) -> String {
        let mut text = String::new();
        let mut buffer = [0; 4096];
        while !is_whole(&text) {
            let count =
                timeout(TEST_TIMEOUT, self.0.read(&mut buffer)).await.expect("a response").unwrap();
            assert!(count > 0, "the connection ended after {text:?}");
            text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        }
        text
    }

    /// All that comes until the server closes the connection, and how long that took.
    async fn rest(&mut self) -> (String, Duration) {
        let (began, mut bytes) = (Instant::now(), Vec::new());
        let ended = timeout(TEST_TIMEOUT, self.0.read_to_end(&mut bytes)).await;
        let _ = ended.expect("the server closes the connection");
        (String::from_utf8_lossy(&bytes).into_owned(), began.elapsed())
    }

    /// Whether the server closed the connection without a word, within a limit of [`short`].
    async fn is_refused(&mut self) -> bool {
        let mut byte = [0];
        matches!(
            timeout(Duration::from_millis(300), self.0.read(&mut byte)).await,
            Ok(Ok(0) | Err(_))
        )
    }
}

fn is_whole(text: &str) -> bool {
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let head = head.to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
    length.map_or(0, |length| length.parse().unwrap()) <= body.len()
}

fn status(response: &str) -> u16 {
    response.split(' ').nth(1).and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// What a client with a limit of half a second waits, on a machine that does much else.
#[track_caller]
fn is_half_a_second(took: Duration) {
    assert!((450..2_500).contains(&took.as_millis()), "{took:?}");
}
