//! Connection limits on real processes: the gateway's two listeners, the services, and both kinds of
//! stand-in listeners, with a tenth of the default times.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chaos::drill_env::DrillEnv;
use contracts::clock::Clock;
use launcher::builder::Build;
use launcher::desktop::Desktop;
use launcher::progress::Progress;
use launcher::stack::{Stack, StackOptions};
use reqwest::{Method, Url};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;

const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
/// A tenth of the default limits.
const CONNECTION_LIMITS: [(&str, &str); 4] = [
    ("FIRST_BYTE_MS", "1000"),
    ("HEADERS_MS", "1000"),
    ("BODY_STALL_MS", "1000"),
    ("BODY_TOTAL_MS", "3000"),
];

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

fn environment() -> BTreeMap<String, BTreeMap<String, String>> {
    let of = |prefixes: &[&str]| {
        let names = prefixes.iter().flat_map(|prefix| {
            CONNECTION_LIMITS
                .map(|(name, ms)| (format!("MELMASTOON_{prefix}CONNECTIONS__{name}"), ms.into()))
        });
        names.collect::<BTreeMap<String, String>>()
    };
    let servers = ["inventory", "housekeeping", "staff", "stand-ins"];
    let mut environment: BTreeMap<_, _> =
        servers.map(|server| (server.to_owned(), of(&[""]))).into();
    environment.insert("bff".to_owned(), of(&["PUBLIC__", "INTERNAL__"]));
    environment
}

async fn start() -> Stack {
    let options = StackOptions {
        folder: DrillEnv::folder("tests").join("connections"),
        gateway_port: None,
        build: Build::Dev,
        environment: environment(),
        ..StackOptions::default()
    };
    Stack::start(options, &Progress::quiet()).await.unwrap()
}

fn address(url: &str) -> String {
    let url = Url::parse(url).unwrap();
    format!("127.0.0.1:{}", url.port().unwrap())
}

/// Addresses of every listener without TLS.
fn plain_listeners(stack: &Stack) -> Vec<String> {
    let info = stack.info();
    let services = info.services.values().map(|server| server.url.as_str());
    let others = [&info.gateway.internal_url, &info.stand_ins.url, &info.iam.issuer];
    services.chain(others.map(String::as_str)).map(address).collect()
}

async fn over_tls(stack: &Stack) -> Box<dyn Stream> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&stack.info().ca_file).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let socket = TcpStream::connect(address(&stack.info().gateway.base_url)).await.unwrap();
    let name = "localhost".try_into().unwrap();
    Box::new(TlsConnector::from(Arc::new(client)).connect(name, socket).await.unwrap())
}

/// Opens a connection to each listener, TLS handshake included.
async fn open_all(stack: &Stack) -> Vec<(String, Box<dyn Stream>)> {
    let mut streams = vec![("tls".to_owned(), over_tls(stack).await)];
    for address in plain_listeners(stack) {
        let stream = TcpStream::connect(&address).await.unwrap();
        streams.push((address, Box::new(stream)));
    }
    streams
}

async fn read_to_close(stream: &mut dyn Stream) -> (String, Duration) {
    let (began, mut bytes) = (Instant::now(), Vec::new());
    let ended = timeout(CLOSE_TIMEOUT, stream.read_to_end(&mut bytes)).await;
    let _ = ended.expect("the server closes the connection");
    (String::from_utf8_lossy(&bytes).into_owned(), began.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_have_limits_on_every_listener() {
    let stack = start().await;
    silence_is_closed(&stack).await;
    hosts_are_counted(&stack).await;
    kept_connections_are_kept(&stack).await;
    slow_bodies_are_refused(&stack).await;
    stack.stop().await.unwrap();
}

async fn silence_is_closed(stack: &Stack) {
    for half in ["", "PRI * HT", "GET /health/live HTTP/1.1\r\nHost: a\r\n"] {
        for (name, mut stream) in open_all(stack).await {
            stream.write_all(half.as_bytes()).await.unwrap();
            let (text, _) = read_to_close(&mut *stream).await;
            assert_eq!(text, "", "{name} {half:?}");
        }
    }
    // A TLS listener without a handshake.
    let mut stream = TcpStream::connect(address(&stack.info().gateway.base_url)).await.unwrap();
    read_to_close(&mut stream).await;
}

async fn hosts_are_counted(stack: &Stack) {
    for hosts in ["", "Host: a\r\nHost: b\r\n"] {
        for (name, mut stream) in open_all(stack).await {
            let request = format!("GET /health/live HTTP/1.1\r\n{hosts}\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let (answer, _) = read_to_close(&mut *stream).await;
            assert!(answer.starts_with("HTTP/1.1 400 "), "{name}: {answer}");
            assert!(answer.contains("GENERAL.MALFORMED_REQUEST"), "{name}: {answer}");
        }
    }
}

async fn kept_connections_are_kept(stack: &Stack) {
    let mut streams = open_all(stack).await;
    for _ in 0..2 {
        for (name, stream) in &mut streams {
            let request = "GET /api/bff/backoffice/v1/health/live HTTP/1.1\r\nHost: a\r\n\r\n";
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut bytes = vec![0; 4096];
            let count = timeout(CLOSE_TIMEOUT, stream.read(&mut bytes)).await.unwrap().unwrap();
            let answer = String::from_utf8_lossy(&bytes[..count]).into_owned();
            assert!(answer.starts_with("HTTP/1.1 "), "{name}: {answer:?}");
        }
        sleep(Duration::from_millis(2_500)).await;
    }
}

async fn slow_bodies_are_refused(stack: &Stack) {
    let info = stack.info();
    let folder = DrillEnv::folder("tests").join("connections").join("desktop");
    let desktop =
        Desktop::open(info, &info.operators[0].username, &folder, Clock::system()).unwrap();
    let token = desktop.access_token().await.unwrap();
    let device = desktop.operator().device_id.clone();
    let routes = [
        (Method::POST, "/auth/refresh"),
        (Method::POST, "/reservations/rsv_01K0000000000000000000000A/check-in"),
        (Method::POST, "/sync/cursor"),
    ];
    for (method, path) in routes {
        let url = desktop.url(path).unwrap();
        let proof = desktop.proof(&method, &url, &token);
        let is_refresh = path == "/auth/refresh";
        let proof = if is_refresh { proof.without("ath") } else { proof };
        let proof = proof.sign(desktop.key()).unwrap();
        let authorization =
            if is_refresh { String::new() } else { format!("Authorization: DPoP {token}\r\n") };
        let head = format!(
            "{method} {} HTTP/1.1\r\nHost: localhost\r\n{authorization}DPoP: {proof}\r\n\
             X-Device-Id: {device}\r\nIdempotency-Key: {}\r\n\
             Content-Type: application/json\r\nContent-Length: 50\r\n\r\n{{",
            url.path(),
            "k".repeat(20),
        );
        let mut stream = over_tls(stack).await;
        stream.write_all(head.as_bytes()).await.unwrap();
        let (answer, took) = read_to_close(&mut *stream).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{path}: {answer}");
        assert!((900..6_000).contains(&took.as_millis()), "{path}: {took:?}");
    }
}
