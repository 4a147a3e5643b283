//! CPU cost of one read: the whole call to a server on loopback, and for comparison the same bytes
//! over a plain socket; then our HTTP client alone and hyper-util's (filter `HTTP/`):
//! `cargo bench -p upstream-clients`.
//!
//! Measures the CPU time of the calling thread, from `/proc`, without the server's and without
//! waiting.

mod clients;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use contracts::clock::{Clock, Entropy};
use contracts::id::{Id, RequestId, TenantId};
use contracts::upstream::Upstream;
use criterion::{Criterion, criterion_group, criterion_main};
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::Instant;
use upstream_clients::{CallContext, CallStack, Connector, Credentials, Limits};
use url::Url;

const BODY: &str =
    r#"{"asOf":"2026-01-01T00:00:00.000Z","occupied":41,"free":9,"rooms":["101","102","103"]}"#;

#[expect(dead_code, reason = "only read")]
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    as_of: jiff::Timestamp,
    occupied: u32,
    free: u32,
    rooms: Vec<String>,
}

/// Sends every request the same response, with one thread per connection.
fn server() -> Url {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || serve(stream.expect("a connection")));
        }
    });
    Url::parse(&format!("http://127.0.0.1:{port}/")).expect("a URL")
}

fn serve(mut stream: std::net::TcpStream) {
    stream.set_nodelay(true).expect("a socket");
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    let mut buffer = [0; 4096];
    // A request arrives in one piece, because the client writes it at once.
    while stream.read(&mut buffer).is_ok_and(|read| read > 0) {
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

#[derive(Debug)]
struct Bearer(Arc<str>);

impl Credentials for Bearer {
    fn bearer(&self, _: Upstream) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

fn context() -> CallContext {
    let (clock, entropy) = (Clock::system(), Entropy::seeded(7));
    CallContext {
        tenant: Some(TenantId::generate(&clock, &entropy)),
        request_id: RequestId::generate(&clock, &entropy),
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into(),
        credentials: Arc::new(Bearer("x".repeat(500).into())),
        deadline: Instant::now(),
    }
}

fn connector() -> Connector {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    Connector::trusting(config)
}

fn stack() -> CallStack {
    let limits = Limits::of(Upstream::Inventory);
    CallStack::new(Upstream::Inventory, server(), connector(), limits)
}

/// CPU time of this thread so far.
fn cpu_time() -> Duration {
    // The kernel updates the figure when it schedules, not when the file is read.
    std::thread::yield_now();
    let line = std::fs::read_to_string("/proc/thread-self/schedstat").expect("this is Linux");
    let nanos = line.split(' ').next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanos.expect("the first is the CPU time"))
}

async fn calls(stack: &CallStack, context: &CallContext, count: u64) {
    for _ in 0..count {
        let deadline = Instant::now() + Duration::from_secs(1);
        let context = CallContext { deadline, ..context.clone() };
        let query = [("propertyId", "ppt_01K0000000000000000000000A")];
        let body: Body = stack.get(&context, "/api/v1/rooms", &query).await.expect("an answer");
        std::hint::black_box(body);
    }
}

async fn bytes(stream: &mut TcpStream, count: u64) {
    let request = [b'x'; 900];
    let mut buffer = [0; 4096];
    for _ in 0..count {
        stream.write_all(&request).await.expect("a socket");
        let read = stream.read(&mut buffer).await.expect("a socket");
        std::hint::black_box(read);
    }
}

fn of_this_thread(runtime: &Runtime, work: impl Future<Output = ()>) -> Duration {
    let before = cpu_time();
    runtime.block_on(work);
    cpu_time().saturating_sub(before)
}

fn one_call(criterion: &mut Criterion) {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    metrics::set_global_recorder(recorder).expect("the first one");
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (stack, context, url) = (stack(), context(), server());
    let mut group = criterion.benchmark_group("one call");
    group.sample_size(50).measurement_time(Duration::from_secs(10));
    group.bench_function("bytes alone", |bench| {
        let address = (url.host_str().expect("a host"), url.port().expect("a port"));
        let mut stream = runtime.block_on(TcpStream::connect(address)).expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        bench.iter_custom(|count| of_this_thread(&runtime, bytes(&mut stream, count)));
    });
    group.bench_function("read", |bench| {
        bench.iter_custom(|count| of_this_thread(&runtime, calls(&stack, &context, count)));
    });
    group.finish();
}

criterion_group!(benches, one_call, clients::clients);
criterion_main!(benches);
