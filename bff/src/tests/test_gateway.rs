//! An in-process gateway: the real router and edge, a key set on a socket, and the test run's
//! Redis.

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use base64::Engine;
use contracts::clock::{Clock, Entropy};
use contracts::env::Env;
use contracts::id::{DeviceId, Id, OperatorId, PropertyId, SessionId, TenantId};
use contracts::upstream::Upstream;
use contracts::upstream::iam::{AccessTokenClaims, Confirmation};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use migrations::Schema;
use migrations::test_database::TestDatabase;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use serde_json::{Value, json};
use service_kit::health::Readiness;
use service_kit::lifecycle::Lifecycle;
use service_kit::request::{Observer, observed};
use service_kit::request_metrics;
use sha2::{Digest, Sha256};
use tower::ServiceExt;
use upstream_clients::{BaseUrls, Limits};

use crate::config::GatewayConfig;
use crate::firewall::Firewall;
use crate::state::Gateway;
pub(crate) use crate::tests::key::Key;
use crate::tests::key::serve_keys;
use crate::wiring::GatewayBuilder;

pub(crate) const BASE: &str = "https://desk.test";
/// Trusted proxies, so that tests can set the client address.
const HOPS: usize = 1;
/// Generous, because the machine may be busy.
const REDIS_TIMEOUT: Duration = Duration::from_secs(5);
const ISSUER: &str = "https://iam.test";

/// Options of a test gateway.
#[derive(Clone)]
pub(crate) struct TestOptions {
    pub(crate) rules: Arc<Firewall>,
    pub(crate) nonces: bool,
    /// None by default.
    pub(crate) upstreams: BaseUrls,
    pub(crate) limits: fn(Upstream) -> Limits,
    pub(crate) clock: Clock,
    /// URL of the session store.
    pub(crate) redis_url: String,
    /// Connections to Postgres.
    pub(crate) pool: usize,
}

impl TestOptions {
    pub(crate) fn usual() -> Self {
        let rules = crate::firewall::file::parse("").unwrap();
        Self {
            rules: Arc::new(Firewall::new(rules, HOPS)),
            nonces: false,
            upstreams: BaseUrls::new(),
            limits: Limits::of,
            clock: Clock::system(),
            redis_url: session_url(),
            pool: 4,
        }
    }
}

/// Limits with a longer attempt, because the machine may be busy.
pub(crate) fn patient(upstream: Upstream) -> Limits {
    Limits { attempt: Duration::from_secs(2), ..Limits::of(upstream) }
}

/// A gateway, its iam's key, and one operator at one device.
pub(crate) struct TestGateway {
    options: TestOptions,
    pub(crate) app: Router,
    /// The internal listener's routes.
    internal: Router,
    pub(crate) state: Gateway,
    jwks_url: String,
    pub(crate) database: Arc<TestDatabase>,
    iam: Key,
    pub(crate) device_key: Key,
    pub(crate) property: PropertyId,
    pub(crate) device: DeviceId,
    pub(crate) tenant: TenantId,
    pub(crate) operator: OperatorId,
    pub(crate) session: SessionId,
    pub(crate) clock: Clock,
}

impl Drop for TestGateway {
    fn drop(&mut self) {
        self.state.lifecycle.stop();
    }
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl TestGateway {
    pub(crate) async fn open() -> Self {
        Self::build(TestOptions::usual()).await
    }

    /// With these firewall rules (TOML), behind one trusted proxy.
    pub(crate) async fn with_rules(rules: &str) -> Self {
        let rules = crate::firewall::file::parse(rules).unwrap();
        Self::with_edge_rules(Arc::new(Firewall::new(rules, HOPS))).await
    }

    /// With required nonces.
    pub(crate) async fn with_nonces() -> Self {
        Self::build(TestOptions { nonces: true, ..TestOptions::usual() }).await
    }

    pub(crate) async fn with_edge_rules(rules: Arc<Firewall>) -> Self {
        Self::build(TestOptions { rules, ..TestOptions::usual() }).await
    }

    /// With this clock.
    pub(crate) async fn at(clock: Clock) -> Self {
        Self::build(TestOptions { clock, ..TestOptions::usual() }).await
    }

    pub(crate) async fn build(options: TestOptions) -> Self {
        let (clock, entropy) = (options.clock.clone(), Entropy::system());
        let iam = Key::new();
        let jwks_url = serve_keys(&iam).await;
        let database = Arc::new(TestDatabase::create(Schema::Bff).await);
        let state = state(&options, &jwks_url, &database);
        let readiness = Readiness::new(state.lifecycle.clone());
        Self {
            app: crate::http::middleware::public(state.clone(), readiness, &[]),
            internal: internal(&state),
            state,
            jwks_url,
            database,
            session: SessionId::generate(&clock, &entropy),
            iam,
            device_key: Key::new(),
            property: PropertyId::generate(&clock, &entropy),
            device: DeviceId::generate(&clock, &entropy),
            tenant: TenantId::generate(&clock, &entropy),
            operator: OperatorId::generate(&clock, &entropy),
            clock,
            options,
        }
    }

    pub(crate) fn claims(&self) -> AccessTokenClaims {
        let now = self.clock.unix_seconds();
        AccessTokenClaims {
            iss: ISSUER.into(),
            aud: "bff-backoffice".into(),
            sub: self.operator.to_string(),
            tenant_id: self.tenant.to_string(),
            device_id: self.device.to_string(),
            property_ids: vec![self.property.to_string()],
            roles: vec!["front_desk".into()],
            sid: Some(self.session.to_string()),
            cnf: Confirmation { jkt: self.device_key.thumbprint() },
            iat: now,
            exp: now + 900,
            jti: "token".into(),
        }
    }

    pub(crate) fn token(&self, change: impl FnOnce(&mut AccessTokenClaims)) -> String {
        let mut claims = self.claims();
        change(&mut claims);
        let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": "iam-1"});
        self.iam.sign(&header, &serde_json::to_value(claims).unwrap())
    }

    pub(crate) fn proof(&self, path: &str, token: &str, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = json!({
            "jti": format!("{:032x}", Entropy::system().u128()),
            "htm": "GET",
            "htu": format!("{BASE}{path}"),
            "iat": self.clock.unix_seconds(),
            "ath": auth::jwt::encode(&Sha256::digest(token)),
        });
        change(&mut claims);
        let header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": self.device_key.public()});
        self.device_key.sign(&header, &claims)
    }

    /// A request with a good token and a fresh proof.
    pub(crate) fn request(&self, path: &str) -> http::request::Builder {
        let token = self.token(|_| {});
        let bare = path.split('?').next().unwrap();
        let proof = self.proof(bare, &token, |_| {});
        self.with(path, &format!("DPoP {token}"), &proof)
    }

    pub(crate) fn with(
        &self,
        path: &str,
        authorization: &str,
        proof: &str,
    ) -> http::request::Builder {
        Request::get(path)
            .header("authorization", authorization)
            .header("dpop", proof)
            .header("x-device-id", self.device.as_str())
    }

    pub(crate) async fn send(&self, request: http::request::Builder) -> Answer {
        self.send_with(request, Body::empty()).await
    }

    pub(crate) async fn send_with(&self, request: http::request::Builder, body: Body) -> Answer {
        answer(self.app.clone().oneshot(request.body(body).unwrap()).await.unwrap()).await
    }
}

pub(crate) async fn answer(response: http::Response<Body>) -> Answer {
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Answer { status: parts.status, headers: parts.headers, body }
}

impl TestGateway {
    /// Another instance of the same gateway, with the same iam, stores and caller.
    pub(crate) fn another(&self) -> Self {
        let state = state(&self.options, &self.jwks_url, &self.database);
        let readiness = Readiness::new(state.lifecycle.clone());
        Self {
            app: crate::http::middleware::public(state.clone(), readiness, &[]),
            internal: internal(&state),
            state,
            jwks_url: self.jwks_url.clone(),
            database: Arc::clone(&self.database),
            iam: self.iam.clone(),
            device_key: self.device_key.clone(),
            property: self.property,
            device: self.device,
            tenant: self.tenant,
            operator: self.operator,
            session: self.session,
            clock: self.clock.clone(),
            options: self.options.clone(),
        }
    }

    /// Another instance with other options, in place of this one.
    pub(crate) fn with_options(mut self, change: impl FnOnce(&mut TestOptions)) -> Self {
        change(&mut self.options);
        self.state.lifecycle.stop();
        self.state = state(&self.options, &self.jwks_url, &self.database);
        let readiness = Readiness::new(self.state.lifecycle.clone());
        self.app = crate::http::middleware::public(self.state.clone(), readiness, &[]);
        self.internal = internal(&self.state);
        self
    }

    /// The same gateway with this upstream's URL.
    pub(crate) fn asking(self, upstream: Upstream, base: &str) -> Self {
        let upstreams = BaseUrls::from([(upstream, base.parse().unwrap())]);
        self.with_options(|options| options.upstreams = upstreams)
    }

    /// A POST with a good token, a fresh proof and a JSON body.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        let token = self.token(|_| {});
        let proof = self.proof(path, &token, |claims| claims["htm"] = json!("POST"));
        let request = self.with(path, &format!("DPoP {token}"), &proof).method("POST");
        self.send_json(request, body).await
    }

    pub(crate) async fn send_json(&self, request: http::request::Builder, body: &Value) -> Answer {
        let request = request.header("content-type", "application/json");
        self.send_with(request, Body::from(body.to_string())).await
    }

    /// Follows revocations, tenant statuses and streams through the session store at `url`.
    pub(crate) fn follow(&self, url: &str) {
        let client = redis::Client::open(url).unwrap();
        self.state.revocations.follow(client.clone(), &self.state.background);
        self.state.tenant_statuses.follow(client.clone(), &self.state.background);
        self.state.streams.follow(client, &self.state.background);
    }

    /// A POST to the internal listener.
    pub(crate) async fn post_internal(&self, path: &str, request_id: &str, body: &Value) -> Answer {
        let request = Request::post(path)
            .header("content-type", "application/json")
            .header("x-request-id", request_id)
            .body(Body::from(body.to_string()))
            .unwrap();
        answer(self.internal.clone().oneshot(request).await.unwrap()).await
    }

    /// The body of a stream that was opened.
    pub(crate) async fn stream(&self) -> Body {
        let request = self.request("/api/bff/backoffice/v1/sse/stream");
        let response =
            self.app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        response.into_body()
    }

    /// The first bytes of an endless response.
    pub(crate) async fn first_bytes(&self, request: http::request::Builder) -> String {
        let response =
            self.app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        let frame = response.into_body().frame().await.unwrap().unwrap();
        String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
    }
}

impl Answer {
    /// Asserts a complete problem: status, code, format and ids.
    #[track_caller]
    pub(crate) fn is_problem(&self, status: u16, code: &str) {
        assert_eq!(
            (self.status.as_u16(), self.body["code"].as_str()),
            (status, Some(code)),
            "{}",
            self.body
        );
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.headers["x-request-id"], self.body["requestId"].as_str().unwrap());
        assert_eq!(self.body["traceId"].as_str().unwrap().len(), 32);
        assert!(self.body["detail"].as_str().unwrap().ends_with('.'), "{}", self.body["detail"]);
    }
}

/// Reads of different gateways are cached apart, in their processes.
fn state(options: &TestOptions, jwks_url: &str, database: &TestDatabase) -> Gateway {
    service_kit::http_client::install_crypto_provider();
    let session = connect_session_store(&options.redis_url);
    let mut config = config(options, jwks_url);
    config.postgres = service_kit::testing::postgres(database.url(), options.pool);
    GatewayBuilder::new(&config, session, Lifecycle::new())
        .env(Env::new(options.clock.clone(), Entropy::system()))
        .firewall(Arc::clone(&options.rules))
        .limits(options.limits)
        .unresponsive_timeout(REDIS_TIMEOUT)
        .build()
        .unwrap()
}

fn config(options: &TestOptions, jwks_url: &str) -> GatewayConfig {
    let keys = Keys::of_this_process();
    let mut config: GatewayConfig = serde_json::from_value(json!({
        "public": {"listen": "127.0.0.1:0", "base_urls": [BASE]},
        "internal": {"listen": "127.0.0.1:0"},
        "iam": {"issuer": ISSUER, "jwks_url": jwks_url},
        "postgres": {"url": ""},
        "redis": {"session_url": options.redis_url, "cache_url": options.redis_url},
        "request_token": {"key_file": keys.request_tokens},
        "dpop": {"nonces": options.nonces, "nonce_key_file": keys.nonces},
        "upstreams": {},
    }))
    .unwrap();
    config.upstreams = options.upstreams.clone();
    config
}

/// Files with the keys of all gateways of this process.
struct Keys {
    request_tokens: PathBuf,
    nonces: PathBuf,
}

impl Keys {
    fn of_this_process() -> &'static Self {
        static KEYS: LazyLock<Keys> = LazyLock::new(|| {
            let folder = std::env::temp_dir().join(format!("bff-{:x}", Entropy::system().u128()));
            std::fs::create_dir(&folder).unwrap();
            let write = |name: &str, content: &[u8]| {
                let file = folder.join(name);
                std::fs::write(&file, content).unwrap();
                file
            };
            Keys {
                request_tokens: write("request-tokens.pem", &Key::new().private_pem()),
                nonces: write("nonces", &[7; 32]),
            }
        });
        &KEYS
    }
}

/// Wraps a router as the listener does.
pub(crate) fn seen_from_outside(app: Router) -> Router {
    let (clock, entropy) = (Clock::system(), Entropy::system());
    observed(app, Observer { metrics: request_metrics!("test"), clock, entropy })
}

pub(crate) async fn send_to(app: &Router, request: Request<Body>) -> Answer {
    answer(app.clone().oneshot(request).await.unwrap()).await
}

fn internal(state: &Gateway) -> Router {
    // Without the guard, which the tests of `identity` are about.
    let orders = crate::http::internal_router::session_routes(state.clone())
        .merge(crate::http::internal_router::event_routes(state.clone()));
    seen_from_outside(Router::new().nest("/internal", orders))
}

pub(crate) fn fresh<T: Id>() -> T {
    T::generate(&Clock::system(), &Entropy::system())
}

/// An event as Pub/Sub pushes it.
pub(crate) fn push_form(event: &Value) -> Value {
    let data = base64::engine::general_purpose::STANDARD.encode(event.to_string());
    json!({"message": {"data": data, "messageId": "1", "attributes": {}}, "subscription": "s"})
}

pub(crate) fn session_url() -> String {
    #[expect(clippy::disallowed_methods, reason = "tests have no configuration of their own")]
    let url = std::env::var("MELMASTOON_TEST_REDIS_SESSION_URL");
    url.expect("Run the tests with ./check, which brings up Redis and sets MELMASTOON_TEST_REDIS_SESSION_URL.")
}

fn connect_session_store(url: &str) -> ConnectionManager {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(REDIS_TIMEOUT))
        .set_response_timeout(Some(REDIS_TIMEOUT))
        .set_number_of_retries(0);
    let client = redis::Client::open(url).unwrap();
    ConnectionManager::new_lazy_with_config(client, config).unwrap()
}
