//! No pool connection is held while an upstream is called. The gateway has a pool of one, and every
//! fake upstream takes that connection before it responds: a call during which it is not free is a
//! violation. Covers every route of the OpenAPI document, also new ones, and every job that calls
//! an upstream.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use contracts::clock::{Clock, wire_time};
use contracts::id::SessionId;
use contracts::role::Role;
use contracts::upstream::Upstream;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use service_kit::postgres::Database;
use service_kit::testing::malformed::example;
use upstream_clients::BaseUrls;

use crate::http::endpoints::Endpoint;
use crate::tests::bodies::meaningful;
use crate::tests::fake_upstreams::{FakeUpstreams, Locks};
use crate::tests::fixture::{BASE, fresh_key, movable_clock};
use crate::tests::isolation::Call;
use crate::tests::issuer::SCHEDULER;
use crate::tests::test_gateway::{TestGateway, TestOptions, fresh, patient};

/// Shorter than any timeout of the gateway, so that it is still waiting.
const FREE_WITHIN: Duration = Duration::from_millis(350);
/// Routes that call no upstream.
const CALL_NONE: [&str; 5] = [
    "get /locks/audit",
    "get /session",
    "get /sse/stream",
    "get /sync/cursor",
    "post /sync/cursor",
];

/// What the fake upstreams saw of the gateway's pool.
#[derive(Default)]
struct Witness {
    database: OnceLock<Database>,
    calls: Mutex<Vec<String>>,
    offences: Mutex<Vec<String>>,
}

impl Witness {
    async fn watch_pool(self: Arc<Self>, call: String) {
        self.calls.lock().unwrap().push(call.clone());
        let connection = self.database.get().unwrap().connection();
        if !matches!(tokio::time::timeout(FREE_WITHIN, connection).await, Ok(Ok(_))) {
            self.offences.lock().unwrap().push(call);
        }
    }

    fn calls(&self) -> Vec<String> {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }

    #[track_caller]
    fn saw_no_offence(&self, by: &str) {
        let offences = std::mem::take(&mut *self.offences.lock().unwrap());
        assert!(offences.is_empty(), "{by} holds a connection while it calls {offences:?}");
    }
}

/// In a separate task, which the gateway's timeout does not cancel.
#[expect(clippy::disallowed_methods, reason = "the test waits for it")]
async fn watch_pool(State(witness): State<Arc<Witness>>, request: Request, next: Next) -> Response {
    let call = format!("{} {}", request.method(), request.uri().path());
    tokio::spawn(witness.watch_pool(call)).await.unwrap();
    next.run(request).await
}

/// Routes that [`FakeUpstreams`] does not have.
fn others() -> Router {
    let verified = json!({"verifiedAt": "2026-11-21T12:00:00.000Z"});
    let cursors = async |request: Request| {
        let query = request.uri().query().unwrap_or_default();
        let property = query.split_once("propertyId=").map(|(_, rest)| rest[..30].to_owned());
        let now = wire_time(Clock::system().now());
        Json(json!({"propertyId": property, "asOf": now, "items": []}))
    };
    Router::new()
        .route("/api/v1/auth/mfa/attest", post(async || Json(verified)))
        .route("/api/v1/sync/tenants/{tenant}/cursors", get(cursors))
}

/// A gateway with one connection, its watcher, and the seconds by which its clock is ahead.
async fn open() -> (TestGateway, Arc<Witness>, Arc<AtomicI64>) {
    let witness = Arc::new(Witness::default());
    let layer = from_fn_with_state(Arc::clone(&witness), watch_pool);
    let (fake, urls) = FakeUpstreams::open_around(|app| app.merge(others()).layer(layer)).await;
    let url = urls[&Upstream::Billing].clone();
    // Except tenant-service, which is called in the background.
    let played = Upstream::all().filter(|upstream| *upstream != Upstream::Tenant);
    let urls: BaseUrls = played.map(|upstream| (upstream, url.clone())).collect();
    let (clock, ahead) = movable_clock();
    let options =
        TestOptions { upstreams: urls, limits: patient, pool: 1, clock, ..TestOptions::usual() };
    let gateway = TestGateway::build(options).await;
    let one = gateway.state.database.clone();
    fake.locks(Locks::In(gateway.property.to_string()));
    drop(one.connection().await.unwrap());
    assert!(witness.database.set(one).is_ok());
    (gateway, witness, ahead)
}

#[tokio::test]
async fn no_route_holds_a_connection_while_it_calls_an_upstream() {
    let (gateway, witness, _) = open().await;
    let document: Value = serde_json::from_str(&crate::http::openapi::json()).unwrap();
    let mut without = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let name = format!("{method} {}", path.strip_prefix(BASE).unwrap());
            let own = Some(gateway.property);
            forget_kept_answers(&gateway);
            send(&gateway, &Call { document: &document, path, method, operation, own }).await;
            witness.saw_no_offence(&name);
            if witness.calls().is_empty() {
                without.insert(name);
            }
        }
    }
    assert_eq!(without, CALL_NONE.map(str::to_owned).into(), "these call no upstream");
}

/// Clears the caches, so that each route calls its upstreams.
fn forget_kept_answers(gateway: &TestGateway) {
    for upstream in Upstream::all() {
        gateway.state.composer.snapshots().invalidate(gateway.tenant, None, upstream);
    }
}

/// Sends a request with all permissions and everything the route requires.
async fn send(gateway: &TestGateway, call: &Call<'_>) {
    let endpoint = Endpoint::find(call.method, call.path.strip_prefix(BASE).unwrap()).unwrap();
    let (path, _, _) = call.filled().unwrap();
    let schema = &call.operation["requestBody"]["content"]["application/json"]["schema"];
    let valid = || meaningful(endpoint.path, example(call.document, schema));
    let mut request = gateway.call(call.method, path).key(fresh_key()).claims(|claims| {
        claims.roles = vec![Role::TenantAdmin.name().to_owned()];
        // One of the routes ends the session it is called in.
        claims.sid = Some(fresh::<SessionId>().to_string());
    });
    if endpoint.proof_only {
        request = request.proof_only();
    }
    if !schema.is_null() {
        request = request.json(&valid());
    }
    let response = request.attestation(gateway.second_factor(endpoint).await).response().await;
    // A stream does not end.
    let is_stream =
        response.headers().get("content-type").is_some_and(|value| value == "text/event-stream");
    if !is_stream {
        response.into_body().collect().await.unwrap();
    }
}

#[tokio::test]
async fn no_job_holds_a_connection_while_it_calls_an_upstream() {
    let (gateway, witness, ahead) = open().await;
    // A lock action whose end is not written down, as when its process dies.
    let table = "ALTER TABLE bff.lock_action_proxy_audit";
    let refuse = format!("{table} ADD CONSTRAINT no_end CHECK (phase = 'requested') NOT VALID");
    gateway.database.run(&refuse).await;
    let document: Value = serde_json::from_str(&crate::http::openapi::json()).unwrap();
    let path = format!("{BASE}/locks/{{lockId}}/issue-key");
    let operation = &document["paths"][&path]["post"];
    let own = Some(gateway.property);
    let call = Call { document: &document, path: &path, method: "post", operation, own };
    send(&gateway, &call).await;
    gateway.database.run(&format!("{table} DROP CONSTRAINT no_end")).await;
    gateway.post(format!("{BASE}/sync/cursor")).json(&json!({"version": 3})).await.status(200);
    let placed = format!("UPDATE bff.device_sync_status SET property_id = '{}'", gateway.property);
    gateway.database.run(&placed).await;
    ahead.store(gateway.state.lock_audit.reconcile_after().as_secs() + 1, Ordering::SeqCst);
    for job in ["reconcile-locks", "reconcile-cursors"] {
        witness.calls();
        let path = format!("/internal/jobs/{job}");
        let response = gateway.account(SCHEDULER).post(path).await.status(200);
        assert_eq!(response.body["ran"], true, "{job}");
        assert!(!witness.calls().is_empty(), "{job} made no call: {}", response.body);
        witness.saw_no_offence(job);
    }
}
