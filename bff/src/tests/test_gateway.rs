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
use migrations::Schema;
use migrations::testing::TestDatabase;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use serde_json::{Value, json};
use service_kit::health::Readiness;
use service_kit::lifecycle::Lifecycle;
use service_kit::request::{Observer, observed};
use service_kit::request_metrics;
use service_kit::testing::postgres;
use sha2::{Digest, Sha256};
use upstream_clients::{BaseUrls, Limits};

use crate::config::GatewayConfig;
use crate::firewall::Firewall;
use crate::state::Gateway;
use crate::tests::internal;
use crate::tests::issuer::Issuer;
pub(crate) use crate::tests::key::Key;
use crate::tests::key::serve_keys;
pub(crate) use crate::tests::response::TestResponse;
use crate::wiring::GatewayBuilder;

pub(crate) const BASE: &str = "https://desk.test";
/// Trusted proxies, so that tests can set the client address.
const HOPS: usize = 1;
/// Generous, because the machine may be busy.
const REDIS_TIMEOUT: Duration = Duration::from_secs(5);
const ISSUER: &str = "https://iam.test";
/// Nothing listens there.
pub(crate) const UNREACHABLE_REDIS: &str = "redis://127.0.0.1:1/";

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

/// A gateway, its iam's key, one operator at one device, and the issuer of its service accounts.
#[derive(Clone)]
pub(crate) struct TestGateway {
    options: TestOptions,
    pub(crate) app: Router,
    /// The internal listener's router.
    pub(crate) internal: Router,
    pub(crate) state: Gateway,
    jwks_url: String,
    pub(crate) database: Arc<TestDatabase>,
    iam: Key,
    pub(crate) issuer: Arc<Issuer>,
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

    pub(crate) async fn without_session_store() -> Self {
        let redis_url = UNREACHABLE_REDIS.to_owned();
        Self::build(TestOptions { redis_url, ..TestOptions::usual() }).await
    }

    pub(crate) async fn build(options: TestOptions) -> Self {
        let (clock, entropy) = (options.clock.clone(), Entropy::system());
        let iam = Key::new();
        let jwks_url = serve_keys(&iam).await;
        let database = Arc::new(TestDatabase::create(Schema::Bff).await);
        let gateway = Self {
            app: Router::new(),
            internal: Router::new(),
            state: state(&options, &jwks_url, &database),
            jwks_url,
            database,
            session: SessionId::generate(&clock, &entropy),
            iam,
            issuer: Arc::new(Issuer::open().await),
            device_key: Key::new(),
            property: PropertyId::generate(&clock, &entropy),
            device: DeviceId::generate(&clock, &entropy),
            tenant: TenantId::generate(&clock, &entropy),
            operator: OperatorId::generate(&clock, &entropy),
            clock,
            options,
        };
        gateway.routed()
    }

    /// With the routers of its state.
    fn routed(mut self) -> Self {
        let readiness = Readiness::new(self.state.lifecycle.clone());
        self.app = crate::http::middleware::public(self.state.clone(), readiness, &[]);
        self.internal = internal::router(&self, Some(self.issuer.identity(self.clock.clone())));
        self
    }

    /// Another instance of the same gateway, with the same iam, stores and caller.
    pub(crate) fn another(&self) -> Self {
        let mut another = self.clone();
        another.state = state(&self.options, &self.jwks_url, &self.database);
        another.routed()
    }

    /// Another instance with other options, in place of this one.
    pub(crate) fn with_options(mut self, change: impl FnOnce(&mut TestOptions)) -> Self {
        change(&mut self.options);
        self.another()
    }

    /// The same gateway with this upstream's URL.
    pub(crate) fn asking(self, upstream: Upstream, base: &str) -> Self {
        let upstreams = BaseUrls::from([(upstream, base.parse().unwrap())]);
        self.with_options(|options| options.upstreams = upstreams)
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
        self.sign(claims)
    }

    /// Signs an access token with these claims.
    pub(crate) fn sign(&self, claims: AccessTokenClaims) -> String {
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

    /// Follows revocations, tenant statuses and streams through the session store at `url`.
    pub(crate) fn follow(&self, url: &str) {
        let client = redis::Client::open(url).unwrap();
        self.state.revocations.follow(client.clone(), &self.state.background);
        self.state.tenant_statuses.follow(client.clone(), &self.state.background);
        self.state.streams.follow(client, &self.state.background);
    }

    /// The body of a stream that was opened.
    pub(crate) async fn stream(&self) -> Body {
        self.get("/api/bff/backoffice/v1/sse/stream").stream().await
    }
}

/// Reads of different gateways are cached apart, in their processes.
fn state(options: &TestOptions, jwks_url: &str, database: &TestDatabase) -> Gateway {
    service_kit::http_client::install_crypto_provider();
    let session = connect_session_store(&options.redis_url);
    let mut config = config(options, jwks_url);
    config.postgres = postgres(database.url(), options.pool);
    let mut builder = GatewayBuilder::new(&config, session, Lifecycle::new());
    builder.env = Env::new(options.clock.clone(), Entropy::system());
    builder.firewall = Some(Arc::clone(&options.rules));
    builder.limits = options.limits;
    builder.unresponsive_timeout = Some(REDIS_TIMEOUT);
    builder.build().unwrap()
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
    observed(app, Observer { metrics: request_metrics!("test"), env: Env::system() })
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
