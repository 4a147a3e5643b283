//! An upstream on a raw socket; the test decides what it sends and when it closes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use contracts::clock::{Clock, Entropy};
use contracts::id::{Id, RequestId, TenantId};
use contracts::upstream::Upstream;
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use upstream_clients::{CallContext, CallStack, Connector, Credentials, Limits};
use url::Url;

/// What the server does with one request.
#[derive(Debug, Clone)]
pub(crate) enum Reaction {
    Respond(Vec<u8>),
    RespondThenClose(Vec<u8>),
    /// Sends the bytes so many times, with pauses.
    Drip(Vec<u8>, usize),
    /// Sends the head, then the byte so many times, with pauses.
    Trickle(Vec<u8>, u8, usize),
    /// Sends a body of so many bytes as fast as possible.
    Flood(usize),
    Close,
    Silence,
}

/// Selects the reaction by connection number, request number on it, and request.
type Script = Arc<dyn Fn(usize, usize, &str) -> Reaction + Send + Sync>;

#[derive(Debug, Default)]
pub(crate) struct Seen {
    requests: Mutex<Vec<String>>,
    connections: AtomicUsize,
    closed: AtomicUsize,
    /// Bytes of floods that were received.
    flooded: AtomicUsize,
    changed: Notify,
}

impl Seen {
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn flooded(&self) -> usize {
        self.flooded.load(Ordering::SeqCst)
    }

    /// Waits until this many requests have come.
    pub(crate) async fn requests_are(&self, count: usize) {
        self.until(|| self.requests.lock().unwrap().len() >= count).await;
    }

    /// Waits until this many connections were closed, by either side.
    pub(crate) async fn closed_are(&self, count: usize) {
        self.until(|| self.closed.load(Ordering::SeqCst) >= count).await;
    }

    async fn until(&self, reached: impl Fn() -> bool) {
        let waiting = async {
            loop {
                let changed = self.changed.notified();
                if reached() {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("timed out");
    }
}

/// Ends with its owner.
pub(crate) struct Server {
    pub(crate) seen: Arc<Seen>,
    pub(crate) url: Url,
    _tasks: JoinSet<()>,
}

impl Server {
    pub(crate) async fn start(script: fn(usize, usize) -> Reaction) -> Self {
        Self::over("http", by_number(script), None).await
    }

    /// The reaction depends on the request.
    pub(crate) async fn answering(
        script: impl Fn(&str) -> Reaction + Send + Sync + 'static,
    ) -> Self {
        Self::over("http", Arc::new(move |_, _, request| script(request)), None).await
    }

    pub(crate) async fn start_tls(
        script: fn(usize, usize) -> Reaction,
        acceptor: TlsAcceptor,
    ) -> Self {
        Self::over("https", by_number(script), Some(acceptor)).await
    }

    async fn over(scheme: &str, script: Script, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::<Seen>::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, script, tls, Arc::clone(&seen)));
        let url = Url::parse(&format!("{scheme}://localhost:{port}/")).unwrap();
        Self { seen, url, _tasks: tasks }
    }
}

fn by_number(script: fn(usize, usize) -> Reaction) -> Script {
    Arc::new(move |connection, request, _| script(connection, request))
}

async fn accept(listener: TcpListener, script: Script, tls: Option<TlsAcceptor>, seen: Arc<Seen>) {
    let mut connections = JoinSet::new();
    for number in 0.. {
        let (stream, _) = listener.accept().await.unwrap();
        seen.connections.fetch_add(1, Ordering::SeqCst);
        let (seen, tls, script) = (Arc::clone(&seen), tls.clone(), Arc::clone(&script));
        connections.spawn(async move {
            match tls {
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, number, &script, &seen).await;
                    }
                }
                None => serve(stream, number, &script, &seen).await,
            }
            seen.closed.fetch_add(1, Ordering::SeqCst);
            seen.changed.notify_waiters();
        });
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    connection: usize,
    script: &Script,
    seen: &Seen,
) {
    for number in 0.. {
        let Some(request) = read(&mut stream).await else { return };
        let reaction = script(connection, number, &request);
        seen.requests.lock().unwrap().push(request);
        seen.changed.notify_waiters();
        let goes_on = match reaction {
            Reaction::Respond(bytes) => stream.write_all(&bytes).await.is_ok(),
            Reaction::RespondThenClose(bytes) => {
                let _ = stream.write_all(&bytes).await;
                false
            }
            Reaction::Drip(piece, times) => drip(&mut stream, &piece, times).await,
            Reaction::Trickle(head, byte, times) => {
                stream.write_all(&head).await.is_ok() && drip(&mut stream, &[byte], times).await
            }
            Reaction::Flood(length) => flood(&mut stream, length, seen).await,
            Reaction::Close => false,
            // Until the client disconnects.
            Reaction::Silence => stream.read_u8().await.is_ok(),
        };
        if !goes_on {
            return;
        }
    }
}

async fn drip(stream: &mut (impl AsyncWrite + Unpin), piece: &[u8], times: usize) -> bool {
    let mut pause = tokio::time::interval(Duration::from_millis(20));
    for _ in 0..times {
        pause.tick().await;
        if stream.write_all(piece).await.is_err() {
            return false;
        }
    }
    true
}

async fn flood(stream: &mut (impl AsyncWrite + Unpin), length: usize, seen: &Seen) -> bool {
    let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut is_taken = stream.write_all(head).await.is_ok();
    let piece = format!("{:x}\r\n{}\r\n", 1 << 16, " ".repeat(1 << 16));
    for _ in 0..length >> 16 {
        is_taken = is_taken && stream.write_all(piece.as_bytes()).await.is_ok();
        seen.flooded.fetch_add(if is_taken { 1 << 16 } else { 0 }, Ordering::SeqCst);
    }
    is_taken && stream.write_all(b"0\r\n\r\n").await.is_ok()
}

/// One request as text; `None` when the other side closed.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut text = Vec::new();
    loop {
        text.push(stream.read_u8().await.ok()?);
        if text.ends_with(b"\r\n\r\n") {
            break;
        }
    }
    let head = String::from_utf8(text).unwrap();
    let mut body = vec![0; length(&head)];
    stream.read_exact(&mut body).await.ok()?;
    Some(head + std::str::from_utf8(&body).unwrap())
}

fn length(head: &str) -> usize {
    let line = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    line.map_or(0, |length| length.trim().parse().unwrap())
}

/// A complete response with this body.
pub(crate) fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

#[derive(Debug)]
struct Bearer;

impl Credentials for Bearer {
    fn bearer(&self, audience: Upstream) -> Arc<str> {
        format!("for-{audience}").into()
    }
}

pub(crate) fn context() -> CallContext {
    context_of(7)
}

/// A context of another tenant per number.
pub(crate) fn context_of(tenant: u64) -> CallContext {
    let (clock, entropy) = (Clock::system(), Entropy::seeded(tenant));
    CallContext {
        tenant: Some(TenantId::from_parts(jiff::Timestamp::UNIX_EPOCH, tenant.into())),
        request_id: RequestId::generate(&clock, &entropy),
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into(),
        credentials: Arc::new(Bearer),
        deadline: Instant::now() + Duration::from_secs(5),
    }
}

/// Without retries, so that requests show what the transport did.
pub(crate) const LIMITS: Limits =
    Limits { attempt: Duration::from_secs(5), retries: 0, concurrency: 16, body: 64 * 1024 };

pub(crate) fn stack(server: &Server, limits: Limits) -> CallStack {
    stack_at(server.url.clone(), limits, trusting_nobody())
}

pub(crate) fn stack_at(url: Url, limits: Limits, trust: ClientConfig) -> CallStack {
    CallStack::new(Upstream::Billing, url, Connector::trusting(trust), limits)
}

pub(crate) fn trusting_nobody() -> ClientConfig {
    trusting(rustls::RootCertStore::empty())
}

pub(crate) fn trusting(roots: rustls::RootCertStore) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}
