//! Connection limits of the public listener, plain and over TLS, through real sockets.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use http::Request;
use service_kit::health::Readiness;
use service_kit::serve::{ConnectionLimits, Plain, bind};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::config::PublicConfig;
use crate::http::tls::Tls;
use crate::tests::call::TestCall;
use crate::tests::test_gateway::TestGateway;
use crate::tests::tls::{Folder, connect, made};
use crate::wiring::public_server;

const API: &str = "/api/bff/backoffice/v1";
const LONG: Duration = Duration::from_secs(10);
/// Half a second where production has ten.
const LIMITS: ConnectionLimits = ConnectionLimits {
    first_byte_ms: 500,
    headers_ms: 500,
    body_stall_ms: 500,
    body_total_ms: 2_000,
    write_stall_ms: 30_000,
    idle_ms: 60_000,
    drain_idle_ms: 500,
    max_connections: 100,
    max_unauthenticated_per_address: 2,
};

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

#[derive(Debug, Clone, Copy)]
enum Front {
    Plain,
    /// A connection after its TLS handshake.
    Tls,
}

const FRONTS: [Front; 2] = [Front::Plain, Front::Tls];

/// A gateway on two sockets.
struct Listening {
    gateway: TestGateway,
    plain: SocketAddr,
    tls: SocketAddr,
    certificate: Vec<u8>,
    _folder: Folder,
}

impl Listening {
    async fn open() -> Self {
        service_kit::http_client::install_crypto_provider();
        let (gateway, folder, made) = (TestGateway::open().await, Folder::new(), made(2090));
        folder.write("cert.pem", &made.cert);
        folder.write("key.pem", &made.key);
        let tls = Tls::load(&folder.config()).unwrap();
        let (plain_socket, tls_socket) = (any().await, any().await);
        let addresses = (plain_socket.local_addr().unwrap(), tls_socket.local_addr().unwrap());
        let lifecycle = &gateway.state.lifecycle;
        server(&gateway).serve(plain_socket, Plain, lifecycle);
        server(&gateway).serve(tls_socket, tls.acceptor, lifecycle);
        let (plain, tls) = addresses;
        Self { gateway, plain, tls, certificate: made.der, _folder: folder }
    }

    /// Opens a connection; its timeouts start now.
    async fn connect(&self, front: Front) -> Box<dyn Stream> {
        match front {
            Front::Plain => Box::new(TcpStream::connect(self.plain).await.unwrap()),
            Front::Tls => Box::new(connect(self.tls, &self.certificate).await),
        }
    }
}

async fn any() -> tokio::net::TcpListener {
    bind("127.0.0.1:0".parse().unwrap()).await.unwrap()
}

fn server(gateway: &TestGateway) -> service_kit::serve::Server {
    let config = PublicConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        connections: LIMITS,
        base_urls: Vec::new(),
        tls: None,
        allowed_origins: Vec::new(),
    };
    let readiness = Readiness::new(gateway.state.lifecycle.clone());
    public_server(&config, gateway.state.clone(), readiness)
}

/// Head of a request on the wire, without its last line.
fn head(request: &Request<Body>) -> String {
    let mut text =
        format!("{} {} HTTP/1.1\r\nhost: desk.test\r\n", request.method(), request.uri());
    for (name, value) in request.headers() {
        text.extend([name.as_str(), ": ", value.to_str().unwrap(), "\r\n"]);
    }
    text
}

/// Reads the response until the server closes the connection, and returns how long that took.
async fn read_rest(stream: &mut dyn Stream) -> (String, Duration) {
    let (began, mut bytes) = (Instant::now(), Vec::new());
    let ended = timeout(LONG, stream.read_to_end(&mut bytes)).await;
    let _ = ended.expect("the server closes the connection");
    (String::from_utf8_lossy(&bytes).into_owned(), began.elapsed())
}

async fn send_request(stream: &mut dyn Stream, request: TestCall<'_>) -> String {
    stream.write_all(format!("{}\r\n", head(&request.request())).as_bytes()).await.unwrap();
    let mut bytes = vec![0; 16 * 1024];
    let count = timeout(LONG, stream.read(&mut bytes)).await.expect("a response").unwrap();
    String::from_utf8_lossy(&bytes[..count]).into_owned()
}

#[tokio::test]
async fn idle_and_incomplete_connections_are_closed() {
    let state = Listening::open().await;
    for half in ["", "PRI * HT", "GET /api HTTP/1.1\r\nhost: a\r\n"] {
        for front in FRONTS {
            let mut stream = state.connect(front).await;
            stream.write_all(half.as_bytes()).await.unwrap();
            let (text, took) = read_rest(&mut *stream).await;
            assert_eq!(text, "");
            assert!((400..5_000).contains(&took.as_millis()), "{half:?} {took:?}");
        }
    }
    // Also where TLS is expected and never begins, or begins and does not go on.
    for half in [&b""[..], &[22, 3, 1, 2, 0, 1]] {
        let mut stream = TcpStream::connect(state.tls).await.unwrap();
        stream.write_all(half).await.unwrap();
        read_rest(&mut stream).await;
    }
}

#[tokio::test]
async fn a_stalled_body_is_408_on_every_kind_of_route() {
    let state = Listening::open().await;
    let gateway = &state.gateway;
    let change = |path: &str| gateway.post(format!("{API}{path}")).key("k".repeat(20));
    for front in FRONTS {
        for (name, request) in [
            ("refresh", gateway.post(format!("{API}/auth/refresh")).proof_only()),
            ("check-in", change("/reservations/rsv_01K0000000000000000000000A/check-in")),
            ("cursor", change("/sync/cursor")),
        ] {
            let mut stream = state.connect(front).await;
            let request = request.from(&format!("192.0.2.{}", name.len())).request();
            let body = "content-type: application/json\r\ncontent-length: 50\r\n\r\n{";
            stream.write_all(format!("{}{body}", head(&request)).as_bytes()).await.unwrap();
            let (response, took) = read_rest(&mut *stream).await;
            assert!(response.starts_with("HTTP/1.1 408 "), "{name}: {response}");
            for part in ["GENERAL.REQUEST_TIMEOUT", "x-request-id: req_", "connection: close"] {
                assert!(response.contains(part), "{name}: {response}");
            }
            assert!((400..5_000).contains(&took.as_millis()), "{name} {took:?}");
        }
    }
}

#[tokio::test]
async fn a_request_without_a_host_or_with_two_is_a_problem() {
    let state = Listening::open().await;
    for hosts in ["", "host: a\r\nhost: b\r\n"] {
        for front in FRONTS {
            let mut stream = state.connect(front).await;
            let request = format!("GET {API}/session HTTP/1.1\r\n{hosts}\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let (response, _) = read_rest(&mut *stream).await;
            assert!(response.starts_with("HTTP/1.1 400 "), "{response}");
            assert!(response.contains("GENERAL.MALFORMED_REQUEST"), "{response}");
        }
    }
}

#[tokio::test]
async fn a_sign_in_makes_room_for_the_next_desk_of_the_address() {
    let state = Listening::open().await;
    let gateway = &state.gateway;
    let from_desk = |path: &str| gateway.get(format!("{API}{path}")).from("203.0.113.9");
    let health = || from_desk("/health/live").anonymous();
    let mut desks = Vec::new();
    for _ in 0..2 {
        let mut fixture = TcpStream::connect(state.plain).await.unwrap();
        assert!(send_request(&mut fixture, health()).await.starts_with("HTTP/1.1 200 "));
        desks.push(fixture);
    }
    let mut third = TcpStream::connect(state.plain).await.unwrap();
    let refusal = send_request(&mut third, health()).await;
    assert!(refusal.starts_with("HTTP/1.1 429 ") && refusal.contains("BFF.RATE_LIMITED"));
    // A kept connection waits longer for its next request than a new one for its first.
    sleep(Duration::from_millis(1_200)).await;
    let response = send_request(&mut desks[0], from_desk("/session")).await;
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    let mut third = TcpStream::connect(state.plain).await.unwrap();
    assert!(send_request(&mut third, health()).await.starts_with("HTTP/1.1 200 "));
}
