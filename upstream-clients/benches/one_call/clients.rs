//! The same exchange with our HTTP client and with hyper-util's: one at a time, and ten at once in
//! one task as a dashboard sends them.
//!
//! Both set the same headers and limits and read the whole body. The server runs on a thread of its
//! own, whose CPU time does not count.

use std::net::TcpListener;
use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, SamplingMode};
use futures_util::stream::{FuturesUnordered, StreamExt};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Request, Response, Uri, Version};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::runtime::{Builder, Runtime};
use tokio_util::task::TaskTracker;
use upstream_clients::Transport;
use url::Url;

use crate::{connector, of_this_thread};

const SIZES: [(&str, usize); 2] = [("0.8 kB", 800), ("14 kB", 14_000)];
/// Longest response that is read.
const LIMIT: usize = 1 << 20;
const TARGET: &str = "/api/v1/rooms?propertyId=ppt_01K0000000000000000000000A";

/// Serves HTTP/1.1 and HTTP/2 in cleartext with a body of this size.
fn server(size: usize) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.set_nonblocking(true).expect("a socket");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || runtime().block_on(serve(listener, size)));
    port
}

async fn serve(listener: TcpListener, size: usize) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
    let body = Bytes::from(vec![b'x'; size]);
    let tasks = TaskTracker::new();
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        let body = body.clone();
        let service = service_fn(move |_: Request<Incoming>| {
            let response = Response::builder()
                .header(CONTENT_TYPE, "application/json")
                .body(Full::new(body.clone()));
            std::future::ready(response)
        });
        tasks.spawn(async move {
            let builder = auto::Builder::new(TokioExecutor::new());
            builder.serve_connection(TokioIo::new(stream), service).await
        });
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// A request with the headers of an upstream call, without `Host`.
fn request(target: Uri) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::default());
    *request.uri_mut() = target;
    let headers = request.headers_mut();
    headers.reserve(12);
    let token = ["Bearer ", &"x".repeat(500)].concat();
    headers.insert(AUTHORIZATION, HeaderValue::try_from(token).expect("ASCII"));
    for (name, value) in [
        ("x-request-id", "req_01K0000000000000000000000A"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("x-deadline-ms", "1000"),
        ("x-tenant-id", "ten_01K0000000000000000000000A"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    request
}

trait HttpClient {
    async fn read(&self) -> Bytes;
}

struct Own {
    transport: Transport,
    host: HeaderValue,
}

impl Own {
    fn new(version: Version, port: u16) -> Self {
        let scheme = if version == Version::HTTP_2 { "h2c" } else { "http" };
        let address = format!("{scheme}://127.0.0.1:{port}/");
        let base = Url::parse(&address).expect("a URL");
        let transport = Transport::new(base, connector());
        Self { transport, host: host(port) }
    }
}

impl HttpClient for Own {
    async fn read(&self) -> Bytes {
        let build = || {
            let mut request = request(Uri::from_static(TARGET));
            request.headers_mut().insert(HOST, self.host.clone());
            request
        };
        self.transport.exchange(build, true, LIMIT).await.expect("a response").body
    }
}

struct HyperUtil {
    client: Client<HttpConnector, Full<Bytes>>,
    target: Uri,
    version: Version,
    host: HeaderValue,
}

impl HyperUtil {
    fn new(version: Version, port: u16) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(Duration::from_millis(300)));
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(64)
            .set_host(false)
            .http2_only(version == Version::HTTP_2)
            .http2_initial_stream_window_size(256 * 1024)
            .http2_initial_connection_window_size(4 * 1024 * 1024)
            .http2_keep_alive_interval(Duration::from_secs(5))
            .http2_keep_alive_timeout(Duration::from_secs(2))
            .http2_keep_alive_while_idle(true)
            .build(connector);
        let target = format!("http://127.0.0.1:{port}{TARGET}").parse().expect("a URI");
        Self { client, target, version, host: host(port) }
    }
}

impl HttpClient for HyperUtil {
    async fn read(&self) -> Bytes {
        let mut request = request(self.target.clone());
        if self.version == Version::HTTP_2 {
            *request.version_mut() = Version::HTTP_2;
        } else {
            request.headers_mut().insert(HOST, self.host.clone());
        }
        let response = self.client.request(request).await.expect("a response");
        let body = Limited::new(response.into_body(), LIMIT);
        body.collect().await.expect("a body").to_bytes()
    }
}

fn host(port: u16) -> HeaderValue {
    HeaderValue::try_from(format!("127.0.0.1:{port}")).expect("ASCII")
}

/// Measures the CPU time per call.
fn measure(criterion: &mut Criterion, version: Version, size: &str, port: u16, at_once: u32) {
    let runtime = runtime();
    let (own, hyper_util) = (Own::new(version, port), HyperUtil::new(version, port));
    let mut group = criterion.benchmark_group(format!("{version:?}, {size}, {at_once} at once"));
    group.sample_size(20).sampling_mode(SamplingMode::Flat);
    group.warm_up_time(Duration::from_millis(500));
    // Criterion divides it by the time per call, of which each iteration makes `at_once`.
    group.measurement_time(Duration::from_secs(1) / at_once);
    group.bench_function("own", |bench| {
        bench.iter_custom(|count| of_this_thread(&runtime, rounds(&own, at_once, count)) / at_once);
    });
    group.bench_function("hyper-util", |bench| {
        bench.iter_custom(|count| {
            of_this_thread(&runtime, rounds(&hyper_util, at_once, count)) / at_once
        });
    });
    group.finish();
}

async fn rounds(client: &impl HttpClient, at_once: u32, count: u64) {
    for _ in 0..count {
        let mut calls = (0..at_once).map(|_| client.read()).collect::<FuturesUnordered<_>>();
        while let Some(body) = calls.next().await {
            std::hint::black_box(body);
        }
    }
}

pub(crate) fn clients(criterion: &mut Criterion) {
    for (size_name, size) in SIZES {
        let port = server(size);
        for version in [Version::HTTP_11, Version::HTTP_2] {
            for at_once in [1, 10] {
                measure(criterion, version, size_name, port, at_once);
            }
        }
    }
}
