//! A gateway in this process: the real router and edge, a key set served over a socket, and the
//! Redis that the test run was given.

use std::sync::Arc;
use std::time::Duration;

use auth::edge::{Authenticator, RemoteKeys, ReplayStore};
use auth::htu::Htu;
use auth::proof::{ProofVerifier, Window};
use auth::request_token::RequestTokens;
use auth::token::TokenRules;
use auth::verifier::RequestVerifier;
use axum::Router;
use axum::body::Body;
use base64::Engine;
use bff::firewall::EdgeRules;
use bff::firewall::rule_override::Orders;
use bff::sessions::revocation::Feed;
use bff::sessions::session_store::SessionRedis;
use bff::sessions::tenant_status::Standings;
use bff::sessions::{Profiles, Sessions};
use bff::state::{Gateway, Parts};
use bff::stream::Streams;
use composer::{Composer, Snapshots};
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
use service_kit::postgres::Database;
use service_kit::request::{Observer, observed};
use service_kit::request_metrics;
use sha2::{Digest, Sha256};
use tower::ServiceExt;
use upstream_clients::{BaseUrls, Limits, Upstreams};

pub(crate) use crate::key::Key;
use crate::key::serve_keys;

pub(crate) const BASE: &str = "https://desk.test";
/// Proxies in front of the gateway: tests say where a request comes from.
const HOPS: usize = 1;
/// For the session tier: a machine that tests may do much else.
const PATIENCE: Duration = Duration::from_secs(5);
const ISSUER: &str = "https://iam.test";

/// What a house is built with, where it is not the usual.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) rules: Arc<EdgeRules>,
    pub(crate) nonces: bool,
    /// None by default.
    pub(crate) upstreams: BaseUrls,
    pub(crate) clock: Clock,
    /// Where the session tier listens.
    pub(crate) tier: String,
}

impl Plan {
    pub(crate) fn usual() -> Self {
        let rules = bff::firewall::file::parse("").unwrap();
        let rules = Arc::new(EdgeRules::new(rules, HOPS));
        let (upstreams, clock) = (BaseUrls::new(), Clock::system());
        Self { rules, nonces: false, upstreams, clock, tier: session_url() }
    }
}

/// A gateway, its iam's key, and one operator at one device.
pub(crate) struct House {
    plan: Plan,
    pub(crate) app: Router,
    /// The internal listener's routes.
    internal: Router,
    pub(crate) gateway: Gateway,
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

impl Drop for House {
    fn drop(&mut self) {
        self.gateway.lifecycle.stop();
    }
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl House {
    pub(crate) async fn open() -> Self {
        Self::build(Plan::usual()).await
    }

    /// With these edge rules (TOML), behind one proxy of ours.
    pub(crate) async fn with_rules(rules: &str) -> Self {
        let rules = bff::firewall::file::parse(rules).unwrap();
        Self::with_edge_rules(Arc::new(EdgeRules::new(rules, HOPS))).await
    }

    /// One that asks proofs for nonces.
    pub(crate) async fn with_nonces() -> Self {
        Self::build(Plan { nonces: true, ..Plan::usual() }).await
    }

    pub(crate) async fn with_edge_rules(rules: Arc<EdgeRules>) -> Self {
        Self::build(Plan { rules, ..Plan::usual() }).await
    }

    /// At the instants this clock shows.
    pub(crate) async fn at(clock: Clock) -> Self {
        Self::build(Plan { clock, ..Plan::usual() }).await
    }

    pub(crate) async fn build(plan: Plan) -> Self {
        let (clock, entropy) = (plan.clock.clone(), Entropy::system());
        let iam = Key::new();
        let jwks_url = serve_keys(&iam).await;
        let database = Arc::new(TestDatabase::create(Schema::Bff).await);
        let tier = session_tier(&plan.tier);
        let gateway = gateway(&plan, tier, jwks_url.clone(), &database);
        let readiness = Readiness::new(gateway.lifecycle.clone());
        Self {
            app: bff::http::middleware::public(gateway.clone(), readiness, &[]),
            internal: internal(&gateway),
            gateway,
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
            plan,
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

impl House {
    /// Another instance of the same gateway, with the same iam, stores and caller.
    pub(crate) fn another(&self) -> Self {
        let tier = self.gateway.session_redis.0.clone();
        let gateway = gateway(&self.plan, tier, self.jwks_url.clone(), &self.database);
        let readiness = Readiness::new(gateway.lifecycle.clone());
        Self {
            app: bff::http::middleware::public(gateway.clone(), readiness, &[]),
            internal: internal(&gateway),
            gateway,
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
            plan: self.plan.clone(),
        }
    }

    /// The same gateway with a part replaced.
    pub(crate) fn with_part(mut self, change: impl FnOnce(&mut Gateway)) -> Self {
        change(&mut self.gateway);
        let readiness = Readiness::new(self.gateway.lifecycle.clone());
        self.app = bff::http::middleware::public(self.gateway.clone(), readiness, &[]);
        self.internal = internal(&self.gateway);
        self
    }

    /// The same gateway, whose upstream listens there.
    pub(crate) fn asking(self, upstream: Upstream, base: &str) -> Self {
        let urls = BaseUrls::from([(upstream, base.parse().unwrap())]);
        self.with_part(|gateway| {
            gateway.upstreams = Arc::new(Upstreams::new(&urls, Limits::of).unwrap());
            gateway.composer = composer(gateway);
        })
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

    /// Follows revocations, standings and streams, told through the session tier at `bell`.
    pub(crate) fn follow(&self, bell: &str) {
        let bell = redis::Client::open(bell).unwrap();
        self.gateway.revocations.follow(bell.clone(), &self.gateway.lifecycle);
        self.gateway.standings.follow(bell.clone(), &self.gateway.lifecycle);
        self.gateway.streams.follow(bell, &self.gateway.lifecycle);
    }

    /// An order on the internal listener.
    pub(crate) async fn order(&self, path: &str, request_id: &str, body: &Value) -> Answer {
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

    /// The first bytes of an answer that does not end.
    pub(crate) async fn first_bytes(&self, request: http::request::Builder) -> String {
        let response =
            self.app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        let frame = response.into_body().frame().await.unwrap().unwrap();
        String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
    }
}

impl Answer {
    /// Asserts a whole problem: status, code, form, and the ids that lead to the log.
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

fn authenticator(plan: &Plan, tier: ConnectionManager, jwks_url: String) -> Authenticator {
    let mut proofs = ProofVerifier::new(Window::default());
    if plan.nonces {
        proofs = proofs.with_nonces(auth::nonce::Nonces::new(&[7; 32]).unwrap());
    }
    let client = service_kit::http_client::short_requests();
    let rules = TokenRules { issuer: ISSUER.into(), audience: "bff-backoffice".into() };
    Authenticator {
        keys: RemoteKeys::new(jwks_url, client, Duration::from_secs(1)),
        replays: ReplayStore::new(Some(tier), proofs.span()).with_unresponsive_timeout(PATIENCE),
        verifier: RequestVerifier::new(proofs, rules, vec![Htu::parse(BASE).unwrap()]),
        clock: plan.clock.clone(),
    }
}

fn gateway(
    plan: &Plan,
    tier: ConnectionManager,
    jwks_url: String,
    database: &TestDatabase,
) -> Gateway {
    service_kit::http_client::install_crypto_provider();
    let database = Database::new(&service_kit::testing::postgres(database.url(), 4)).unwrap();
    let pem = Key::new().private_pem();
    let (clock, entropy, lifecycle) = (plan.clock.clone(), Entropy::system(), Lifecycle::new());
    let tokens =
        RequestTokens::new("bff-backoffice", &pem, clock.clone(), entropy.clone()).unwrap();
    let tokens = Arc::new(tokens);
    let upstreams = Arc::new(Upstreams::new(&plan.upstreams, Limits::of).unwrap());
    let standings = Standings::new(database.clone(), tier.clone());
    let parts = Parts {
        authenticator: Arc::new(authenticator(plan, tier.clone(), jwks_url)),
        edge_orders: Orders::new(
            Arc::clone(&plan.rules),
            database.clone(),
            tier.clone(),
            clock.clone(),
        ),
        edge_rules: Arc::clone(&plan.rules),
        request_tokens: Arc::clone(&tokens),
        composer: composing(&upstreams, &database, &clock, &lifecycle),
        upstreams: Arc::clone(&upstreams),
        revocations: Feed::new(database.clone(), tier.clone(), clock.clone()),
        database,
        lockout: bff::config::MfaConfig::default().lockout(),
        streams: Streams::new(tier.clone()),
        session_redis: SessionRedis(tier),
        sessions: Sessions::new(clock.clone(), entropy.clone()),
        profiles: Profiles::new(
            upstreams,
            tokens,
            standings.clone(),
            clock.clone(),
            lifecycle.clone(),
        ),
        standings,
        env: Env::new(clock, entropy),
        lifecycle,
    };
    parts.into()
}

/// With the snapshots of this process alone: each house is a world of its own.
fn composing(
    upstreams: &Arc<Upstreams>,
    database: &Database,
    clock: &Clock,
    lifecycle: &Lifecycle,
) -> Composer {
    let own = bff::sync::status::Store::shared(database.clone(), clock.clone());
    let snapshots = Snapshots::new(clock.clone(), lifecycle.tasks(), None);
    Composer::new(Arc::clone(upstreams), own, snapshots, (clock.clone(), Entropy::system()))
}

/// Anew, for a gateway whose parts were exchanged.
pub(crate) fn composer(gateway: &Gateway) -> Composer {
    composing(&gateway.upstreams, &gateway.database, &gateway.env.clock, &gateway.lifecycle)
}

/// What the listener puts around a router.
pub(crate) fn seen_from_outside(app: Router) -> Router {
    let (clock, entropy) = (Clock::system(), Entropy::system());
    observed(app, Observer { metrics: request_metrics!("test"), clock, entropy })
}

pub(crate) async fn send_to(app: &Router, request: Request<Body>) -> Answer {
    answer(app.clone().oneshot(request).await.unwrap()).await
}

fn internal(gateway: &Gateway) -> Router {
    // Without the guard, which the tests of `identity` are about.
    let orders = bff::http::internal_router::revoking(gateway.clone())
        .merge(bff::http::internal_router::listening(gateway.clone()));
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

fn session_tier(url: &str) -> ConnectionManager {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE))
        .set_number_of_retries(0);
    let client = redis::Client::open(url).unwrap();
    ConnectionManager::new_lazy_with_config(client, config).unwrap()
}
