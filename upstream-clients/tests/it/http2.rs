//! HTTP/2: when it is used, how calls share connections, and when a connection is replaced.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, Response, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;
use upstream_clients::{Call, CallContext, CallError, CallStack, Limits};
use url::Url;

use crate::test_server::{LIMITS, context, stack_at, trusting, trusting_nobody};
use crate::tls::acceptor;

const MANY: Limits = Limits { concurrency: 512, ..LIMITS };

#[derive(Debug, Default)]
struct Seen {
    connections: AtomicUsize,
    /// Requests in flight, and requests that were dropped.
    under_way: AtomicUsize,
    dropped: AtomicUsize,
}

/// The path selects the behavior: `/held` waits for `release`, `/n` returns 1.
struct Upstream {
    url: Url,
    seen: Arc<Seen>,
    release: watch::Sender<bool>,
    /// Sends GOAWAY on all connections.
    go_away: watch::Sender<usize>,
    _tasks: JoinSet<()>,
}

impl Upstream {
    async fn start(scheme: &str, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::<Seen>::default();
        let (release, go_away) = (watch::Sender::new(false), watch::Sender::new(0));
        let handler =
            Handler { seen: Arc::clone(&seen), release: release.clone(), go_away: go_away.clone() };
        let mut tasks = JoinSet::new();
        tasks.spawn(handler.accept(listener, tls));
        let url = Url::parse(&format!("{scheme}://localhost:{port}/")).unwrap();
        Self { url, seen, release, go_away, _tasks: tasks }
    }

    /// An upstream over TLS, and a call stack for it.
    async fn secure() -> (Self, CallStack) {
        let (acceptor, roots) = acceptor("localhost", &["h2", "http/1.1"]);
        let upstream = Self::start("https", Some(acceptor)).await;
        let stack = stack_at(upstream.url.clone(), MANY, trusting(roots));
        (upstream, stack)
    }

    fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    async fn until(&self, count: &AtomicUsize, expected: usize) {
        let waiting = async {
            while count.load(Ordering::SeqCst) != expected {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("timed out");
    }
}

#[derive(Clone)]
struct Handler {
    seen: Arc<Seen>,
    release: watch::Sender<bool>,
    go_away: watch::Sender<usize>,
}

impl Handler {
    async fn accept(self, listener: TcpListener, tls: Option<TlsAcceptor>) {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            connections.spawn(self.clone().connection(stream, tls.clone()));
        }
    }

    async fn connection(self, stream: TcpStream, tls: Option<TlsAcceptor>) {
        self.seen.connections.fetch_add(1, Ordering::SeqCst);
        match tls {
            Some(tls) => self.serve(tls.accept(stream).await.unwrap()).await,
            None => self.serve(stream).await,
        }
    }

    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let mut go_away = self.go_away.subscribe();
        let handler = self.clone();
        let service = service_fn(move |request| handler.clone().answer(request));
        let connection = http2::Builder::new(Tasks(TaskTracker::new()))
            .max_concurrent_streams(250)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            _ = connection.as_mut() => return,
            _ = go_away.changed() => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        assert_eq!(request.version(), Version::HTTP_2);
        assert!(request.headers().get("host").is_none());
        let body = match request.uri().path() {
            "/held" => {
                let _under_way = UnderWay::begin(&self.seen);
                self.release.subscribe().wait_for(|released| *released).await.unwrap();
                Bytes::from_static(b"1")
            }
            "/huge" => Bytes::from(vec![b' '; 10 << 20]),
            "/uri" => format!("{:?}", request.uri().to_string()).into(),
            _ => Bytes::from_static(b"1"),
        };
        Ok(Response::new(Full::new(body)))
    }
}

struct UnderWay<'a>(&'a Seen);

impl<'a> UnderWay<'a> {
    fn begin(seen: &'a Seen) -> Self {
        seen.under_way.fetch_add(1, Ordering::SeqCst);
        Self(seen)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
        self.0.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

#[derive(Clone)]
struct Tasks(TaskTracker);

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}

async fn get(stack: &CallStack, context: &CallContext, path: &str) -> Result<u8, CallError> {
    stack.get(context, path, &[("", ""); 0]).await
}

/// Contexts of different tenants, so that no tenant reaches its share.
fn contexts(count: u64) -> Vec<CallContext> {
    (0..count).map(crate::test_server::context_of).collect()
}

#[tokio::test]
async fn concurrent_calls_share_one_connection_from_the_start() {
    let (upstream, stack) = Upstream::secure().await;
    let contexts = contexts(50);
    let calls = join_all(contexts.iter().map(|context| get(&stack, context, "/held")));
    let released = async {
        upstream.until(&upstream.seen.under_way, 50).await;
        upstream.release.send_replace(true);
    };
    let (answers, ()) = futures_util::future::join(calls, released).await;
    assert!(answers.into_iter().all(|answer| answer.is_ok()));
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn more_streams_than_the_maximum_open_another_connection() {
    let (upstream, stack) = Upstream::secure().await;
    let contexts = contexts(150);
    let calls = join_all(contexts.iter().map(|context| get(&stack, context, "/held")));
    let released = async {
        upstream.until(&upstream.seen.under_way, 150).await;
        upstream.release.send_replace(true);
    };
    let (answers, ()) = futures_util::future::join(calls, released).await;
    assert!(answers.into_iter().all(|answer| answer.is_ok()));
    assert_eq!(upstream.connections(), 2);
}

#[tokio::test]
async fn the_target_names_scheme_and_authority_and_a_body_arrives() {
    let (upstream, stack) = Upstream::secure().await;
    let target: String = stack.get(&context(), "/uri", &[("a", "b")]).await.unwrap();
    assert_eq!(target, format!("{}uri?a=b", upstream.url));
    let call = Call { path: "/do", body: "{}".into(), idempotency_key: None };
    assert_eq!(stack.post::<u8>(&context(), &call).await.unwrap().value, 1);
}

#[tokio::test]
async fn a_connection_with_goaway_is_replaced_and_its_calls_complete() {
    let (upstream, stack) = Upstream::secure().await;
    let context = context();
    let held = get(&stack, &context, "/held");
    let others = async {
        upstream.until(&upstream.seen.under_way, 1).await;
        upstream.go_away.send_modify(|said| *said += 1);
        // No call fails, whether or not the GOAWAY has arrived.
        while upstream.connections() < 2 {
            get(&stack, &context, "/n").await.unwrap();
        }
        upstream.release.send_replace(true);
    };
    let (held, ()) = futures_util::future::join(held, others).await;
    assert_eq!(held.unwrap(), 1);
    get(&stack, &context, "/n").await.unwrap();
    assert_eq!(upstream.connections(), 2);
}

#[tokio::test]
async fn a_dropped_call_resets_only_its_stream() {
    let (upstream, stack) = Upstream::secure().await;
    let context = context();
    tokio::select! {
        answer = get(&stack, &context, "/held") => panic!("unexpected response: {answer:?}"),
        () = upstream.until(&upstream.seen.under_way, 1) => {}
    }
    upstream.until(&upstream.seen.dropped, 1).await;
    get(&stack, &context, "/n").await.unwrap();
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn too_large_a_body_is_not_read_and_the_connection_stays_open() {
    let (upstream, stack) = Upstream::secure().await;
    let error = get(&stack, &context(), "/huge").await.unwrap_err();
    assert!(matches!(error, CallError::TooLarge { .. }), "{error:?}");
    get(&stack, &context(), "/n").await.unwrap();
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn a_silent_connection_is_replaced() {
    let (upstream, stack) = Upstream::secure().await;
    let mut context = context();
    context.deadline = tokio::time::Instant::now() + Duration::from_millis(400);
    let error = get(&stack, &context, "/held").await.unwrap_err();
    assert!(matches!(error, CallError::Timeout), "{error:?}");
    get(&stack, &crate::test_server::context(), "/n").await.unwrap();
    assert_eq!(upstream.connections(), 2);
}

#[tokio::test]
async fn the_scheme_h2c_uses_http2_over_cleartext() {
    let upstream = Upstream::start("h2c", None).await;
    let stack = stack_at(upstream.url.clone(), MANY, trusting_nobody());
    let contexts = contexts(20);
    let answers = join_all(contexts.iter().map(|context| get(&stack, context, "/n"))).await;
    assert!(answers.into_iter().all(|answer| answer.is_ok()));
    assert_eq!(upstream.connections(), 1);
}
