//! CPU cost of composing a dashboard of ten widgets from ten upstreams, without the edge:
//! `cargo bench -p composer`. The responses are those of a hotel of 48 rooms, 14 kB together; each
//! upstream is a server of its own on loopback.
//!
//! Measures the CPU time of the composing thread, from `/proc`, without the servers' and without
//! waiting. `cold` caches nothing and calls all ten; `warm` shows cached snapshots.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use auth::Principal;
use composer::compose::{Composer, Plan};
use composer::local_data::LocalData;
use composer::snapshots::{FetchFuture, Snapshots};
use contracts::clock::{Clock, Entropy};
use contracts::dashboard::Record;
use contracts::env::Env;
use contracts::id::{DeviceId, Id, OperatorId, PropertyId, RequestId, TenantId};
use contracts::role::RoleSet;
use contracts::upstream::Upstream;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use futures_util::StreamExt;
use tokio::runtime::Runtime;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use upstream_clients::{CallContext, CallError, Credentials, Limits, Upstreams};
use url::Url;

/// As in the gateway.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PROPERTY: &str = "ppt_01KE6BVBR03J5QB7Q1QFZM6JMV";
const WIDGETS: &str = "availability,rateSnapshot,housekeepingSummary,maintenanceSummary,arrivals,\
    folioSummary,alerts,kpis,staffOnDuty,propertyCard";

macro_rules! answers {
    ($($upstream:ident $file:literal),* $(,)?) => {
        [$((Upstream::$upstream, include_str!(concat!("answers/", $file, ".json")))),*]
    };
}

const ANSWERS: [(Upstream, &str); 10] = answers![
    Inventory "inventory", Pricing "pricing", Housekeeping "housekeeping",
    Maintenance "maintenance", Reservation "reservation", Billing "billing",
    Notification "notification", Analytics "analytics", Staff "staff", Property "property",
];

/// Sends every request the same response, with one thread per connection.
fn server(body: &'static str) -> Url {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || serve(stream.expect("a connection"), body));
        }
    });
    Url::parse(&format!("http://127.0.0.1:{port}/")).expect("a URL")
}

fn serve(mut stream: TcpStream, body: &str) {
    stream.set_nodelay(true).expect("a socket");
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ";
    let answer = format!("{head}{}\r\n\r\n{body}", body.len());
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

/// None of the ten widgets needs local data.
#[derive(Debug)]
struct NoLocalData;

impl LocalData for NoLocalData {
    fn sync_status(&self, _: &CallContext, _: PropertyId) -> FetchFuture {
        Box::pin(std::future::ready(Err(CallError::NotConfigured)))
    }
}

/// One operator who reads the dashboard repeatedly.
struct Desk {
    composer: Composer,
    principal: Principal,
    property: PropertyId,
    context: CallContext,
}

impl Desk {
    fn new(is_cached: bool) -> Self {
        let (clock, entropy) = (Clock::system(), Entropy::seeded(7));
        // The clock stands still, so that snapshots stay fresh.
        let start = clock.now();
        let frozen = Clock::from_fn(move || start);
        let base_urls = ANSWERS.map(|(upstream, body)| (upstream, server(body))).into();
        let upstreams =
            Upstreams::new(&base_urls, Limits::of).expect("this machine trusts someone");
        let snapshots = Snapshots::new(frozen.clone(), TaskTracker::new(), None);
        let snapshots = if is_cached { snapshots } else { snapshots.without_cache() };
        let env = Env::new(frozen, entropy.clone());
        let composer = Composer::new(Arc::new(upstreams), Arc::new(NoLocalData), snapshots, env);
        let property: PropertyId = PROPERTY.parse().expect("an id");
        let principal = Principal {
            tenant: TenantId::generate(&clock, &entropy),
            operator: OperatorId::generate(&clock, &entropy),
            device: DeviceId::generate(&clock, &entropy),
            session: None,
            roles: RoleSet::ANY,
            properties: vec![property],
            issued_at: start,
            expires_at: start,
            thumbprint: None,
            token_digest: [0; 32],
        };
        let context = CallContext {
            tenant: Some(principal.tenant),
            request_id: RequestId::generate(&clock, &entropy),
            traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into(),
            credentials: Arc::new(Bearer("x".repeat(500).into())),
            deadline: Instant::now(),
        };
        Self { composer, principal, property, context }
    }

    fn plan(&self) -> (Plan, CallContext) {
        let now = Instant::now();
        let plan = self.composer.plan(&self.principal, self.property, Some(WIDGETS), now);
        let plan = plan.expect("one at a time is not too many");
        let context = CallContext { deadline: plan.deadline(), ..self.context.clone() };
        (plan, context)
    }

    async fn json(&self) -> Vec<u8> {
        let (plan, context) = self.plan();
        let composed = self.composer.compose(&plan, &context).await;
        assert!(!composed.dashboard.partial, "{:?}", composed.dashboard.widgets);
        serde_json::to_vec(&composed.dashboard).expect("plain JSON")
    }

    async fn lines(&self) -> Vec<u8> {
        let (plan, context) = self.plan();
        let mut text = serde_json::to_vec(&plan.skeleton()).expect("plain JSON");
        let mut results = pin!(self.composer.compose_buffered(&plan, &context));
        while let Some(result) = results.next().await {
            assert!(!result.makes_partial(), "{result:?}");
            let record =
                Record::Widget { name: result.spec.name.to_owned(), widget: result.widget };
            serde_json::to_writer(&mut text, &record).expect("plain JSON");
        }
        text
    }
}

/// CPU time of this thread so far.
fn cpu_time() -> Duration {
    let line = std::fs::read_to_string("/proc/thread-self/schedstat").expect("this is Linux");
    let nanos = line.split(' ').next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanos.expect("the first is the time cpu_time"))
}

fn measure<F>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    runtime: &Runtime,
    name: &str,
    dashboard: impl Fn() -> F,
) where
    F: Future<Output = Vec<u8>>,
{
    group.bench_function(name, |bench| {
        bench.iter_custom(|count| {
            let before = cpu_time();
            runtime.block_on(async {
                for _ in 0..count {
                    std::hint::black_box(dashboard().await);
                }
            });
            cpu_time().saturating_sub(before)
        });
    });
}

fn one_dashboard(criterion: &mut Criterion) {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    metrics::set_global_recorder(recorder).expect("the first one");
    rustls::crypto::aws_lc_rs::default_provider().install_default().expect("the first one");
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    // As in the gateway.
    runtime.spawn(upstream_clients::timer_keepalive::run());
    let mut group = criterion.benchmark_group("ten widgets");
    group.sample_size(50).measurement_time(Duration::from_secs(8));
    for (is_cached, state) in [(false, "cold"), (true, "warm")] {
        let desk = Desk::new(is_cached);
        measure(&mut group, &runtime, &format!("{state}, JSON"), || desk.json());
        measure(&mut group, &runtime, &format!("{state}, NDJSON"), || desk.lines());
    }
    group.finish();
}

criterion_group!(benches, one_dashboard);
criterion_main!(benches);
