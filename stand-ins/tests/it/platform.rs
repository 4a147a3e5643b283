//! Running stand-ins, with the keys of a gateway and of a desktop.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use auth::Principal;
use auth::request_token::RequestTokens;
use axum::routing::get;
use axum::{Json, Router};
use contracts::clock::{Clock, Entropy};
use contracts::env::Env;
use contracts::role::RoleSet;
use contracts::upstream::Upstream;
use contracts::upstream::iam::TokenResponse;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use service_kit::config::{CallersConfig, TelemetryConfig};
use service_kit::lifecycle::Lifecycle;
use service_kit::serve::ConnectionLimits;
use stand_ins::app::{self, Running};
use stand_ins::config::{
    Config, ConsoleConfig, ControlConfig, EventsConfig, IamConfig, OidcConfig,
};
use stand_ins::demo::{DemoData, Operator};

pub(crate) struct TestPlatform {
    pub(crate) running: Running,
    pub(crate) demo: DemoData,
    pub(crate) http: reqwest::Client,
    pub(crate) gateway: RequestTokens,
    ahead: Arc<AtomicI64>,
    lifecycle: Lifecycle,
    keys: PathBuf,
}

impl Drop for TestPlatform {
    fn drop(&mut self) {
        self.lifecycle.stop();
        let _ = std::fs::remove_file(&self.keys);
        let _ = std::fs::remove_file(self.keys.with_extension("oidc.pem"));
    }
}

pub(crate) const ANY_PORT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

pub(crate) async fn start() -> TestPlatform {
    start_with(|_| {}).await
}

pub(crate) async fn start_with(adjust: impl FnOnce(&mut Config)) -> TestPlatform {
    start_ahead(0, adjust).await
}

/// Starts in the morning, before the arrivals of the day.
pub(crate) async fn start_in_the_morning() -> TestPlatform {
    let morning: Timestamp = "2026-11-21T06:00:00Z".parse().unwrap();
    start_ahead(morning.as_second() - Clock::system().unix_seconds(), |_| {}).await
}

/// Starts every stand-in on a free port, in this process, with a clock that tests can move and that is
/// `seconds` ahead at first.
async fn start_ahead(seconds: i64, adjust: impl FnOnce(&mut Config)) -> TestPlatform {
    let ahead = Arc::new(AtomicI64::new(seconds));
    let offset = Arc::clone(&ahead);
    let system = Clock::system();
    let clock = Clock::from_fn(move || {
        system.now() + SignedDuration::from_secs(offset.load(Ordering::Relaxed))
    });
    let (lifecycle, entropy) = (Lifecycle::new(), Entropy::system());
    let pem = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let keys = std::env::temp_dir().join(format!("stand-ins-{:032x}.pem", entropy.u128()));
    std::fs::write(&keys, &pem).unwrap();
    let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
    std::fs::write(keys.with_extension("oidc.pem"), other).unwrap();
    let gateway =
        RequestTokens::new("bff-backoffice", pem.as_bytes(), clock.clone(), entropy.clone())
            .unwrap();
    let jwks_url = serve_keys(&gateway, &lifecycle).await;
    let mut config = config(keys.clone(), jwks_url);
    adjust(&mut config);
    let dependencies = app::Dependencies {
        env: Env::new(clock.clone(), entropy),
        metrics: Router::new(),
        lifecycle: lifecycle.clone(),
    };
    let running = app::start(&config, dependencies).await.unwrap();
    let http = service_kit::http_client::short_requests();
    TestPlatform { running, demo: DemoData::at(clock.now()), http, gateway, ahead, lifecycle, keys }
}

pub(crate) fn config(key_file: PathBuf, jwks_url: String) -> Config {
    use Upstream::{Housekeeping, Inventory, Staff};
    let played =
        Upstream::all().filter(|upstream| ![Inventory, Housekeeping, Staff].contains(upstream));
    Config {
        telemetry: TelemetryConfig::default(),
        control: ControlConfig { listen: ANY_PORT },
        connections: ConnectionLimits::default(),
        upstreams: played.map(|upstream| (upstream, ANY_PORT)).collect::<BTreeMap<_, _>>(),
        pass_through: BTreeMap::new(),
        callers: CallersConfig { jwks_url, issuer: "bff-backoffice".to_owned() },
        oidc: Some(OidcConfig {
            key_file: key_file.with_extension("oidc.pem"),
            domain: "demo.melmastoon.example".to_owned(),
            accounts: [("events", "push-secret"), ("operator_a", "a-secret")]
                .map(|(name, secret)| (name.to_owned(), secret.into()))
                .into(),
        }),
        events: EventsConfig::default(),
        console: ConsoleConfig::default(),
        iam: IamConfig { key_file, issuer: None, dpop_nonces: false, allowed_origins: None },
    }
}

/// The gateway's key set, as its internal listener serves it.
async fn serve_keys(gateway: &RequestTokens, lifecycle: &Lifecycle) -> String {
    let keys = gateway.key_set();
    let listener = service_kit::serve::bind(ANY_PORT).await.unwrap();
    let at = listener.local_addr().unwrap();
    let app = Router::new().route("/jwks", get(move || async move { Json(keys) }));
    service_kit::serve::serve(listener, service_kit::serve::Plain, app, lifecycle);
    format!("http://{at}/jwks")
}

impl TestPlatform {
    pub(crate) fn url(&self, upstream: Upstream, path: &str) -> String {
        format!("http://{}{path}", self.running.upstreams[&upstream])
    }

    pub(crate) fn control(&self, path: &str) -> String {
        format!("http://{}/control/{path}", self.running.control)
    }

    pub(crate) fn pass(&self, time: SignedDuration) {
        self.ahead.fetch_add(time.as_secs(), Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> Timestamp {
        Clock::system().now() + SignedDuration::from_secs(self.ahead.load(Ordering::Relaxed))
    }

    /// The operator with a role at a property.
    pub(crate) fn operator(&self, role: &str, slug: &str) -> &Operator {
        let password = format!("demo-{role}-{slug}");
        self.demo.operators.iter().find(|operator| operator.password == password).unwrap()
    }

    /// The gateway's request token for an upstream and an operator.
    pub(crate) fn request_token(&self, upstream: Upstream, operator: &Operator) -> String {
        // In place of the digest of the operator's token, by which the signer caches tokens: it
        // changes when a test moves the clock.
        let mut token_digest = [0; 32];
        token_digest[..24].copy_from_slice(&operator.id.as_str().as_bytes()[6..]);
        token_digest[24..].copy_from_slice(&self.ahead.load(Ordering::Relaxed).to_be_bytes());
        let principal = Principal {
            tenant: operator.tenant_id,
            operator: operator.id,
            device: operator.device_id,
            session: None,
            roles: RoleSet::of(&operator.roles),
            properties: operator.property_ids.clone(),
            issued_at: self.now(),
            expires_at: self.now() + SignedDuration::from_mins(1),
            thumbprint: None,
            token_digest,
        };
        format!("Bearer {}", self.gateway.token_for(&principal, upstream.name()))
    }

    pub(crate) async fn get(
        &self,
        upstream: Upstream,
        path: &str,
        who: &Operator,
    ) -> reqwest::Response {
        self.try_get(upstream, path, who).await.unwrap()
    }

    pub(crate) async fn try_get(
        &self,
        upstream: Upstream,
        path: &str,
        who: &Operator,
    ) -> reqwest::Result<reqwest::Response> {
        let token = self.request_token(upstream, who);
        self.http.get(self.url(upstream, path)).header("authorization", token).send().await
    }

    pub(crate) fn post(&self, upstream: Upstream, path: &str) -> reqwest::RequestBuilder {
        self.http.post(self.url(upstream, path))
    }

    /// Sends a mutation as an operator, with an idempotency key.
    pub(crate) async fn mutate(
        &self,
        upstream: Upstream,
        path: &str,
        who: &Operator,
        key: &str,
        body: &Value,
    ) -> reqwest::Response {
        let token = self.request_token(upstream, who);
        let post = self.post(upstream, path).header("authorization", token);
        post.header("idempotency-key", key).json(body).send().await.unwrap()
    }

    /// Sets a fault and waits until it is in force.
    pub(crate) async fn fail(&self, fault: Value) {
        let response = self.http.put(self.control("faults")).json(&fault).send().await.unwrap();
        assert_eq!(response.status(), 200, "{}", response.text().await.unwrap());
    }

    pub(crate) async fn heal(&self) {
        let response = self.http.delete(self.control("faults")).send().await.unwrap();
        assert_eq!(response.status(), 204);
    }

    /// What `GET /control/<what>?upstream=` lists.
    pub(crate) async fn listed(&self, what: &str, of: Upstream) -> Vec<Value> {
        let url = self.control(&format!("{what}?upstream={}", of.name()));
        let body: Value = self.http.get(url).send().await.unwrap().json().await.unwrap();
        body["items"].as_array().unwrap().clone()
    }

    pub(crate) async fn token(&self, form: &[(&str, &str)], proof: &str) -> reqwest::Response {
        self.http
            .post(self.url(Upstream::Iam, "/oauth2/token"))
            .header("dpop", proof)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(encoded(form))
            .send()
            .await
            .unwrap()
    }

    pub(crate) async fn sign_in(&self, operator: &Operator, desktop: &Desktop) -> TokenResponse {
        let response = self.token(&password_form(operator), &desktop.proof(self)).await;
        assert_eq!(response.status(), 200);
        response.json().await.unwrap()
    }
}

pub(crate) fn encoded(form: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish()
}

pub(crate) fn password_form(operator: &Operator) -> [(&str, &str); 5] {
    [
        ("grant_type", "password"),
        ("client_id", "desktop"),
        ("username", &operator.username),
        ("password", &operator.password),
        ("device_id", operator.device_id.as_str()),
    ]
}

pub(crate) fn refresh_form(token: &str) -> [(&str, &str); 3] {
    [("grant_type", "refresh_token"), ("client_id", "desktop"), ("refresh_token", token)]
}

/// A desktop's key.
pub(crate) struct Desktop(EncodingKey);

impl Desktop {
    pub(crate) fn new() -> Self {
        let pem = rcgen::KeyPair::generate().unwrap().serialize_pem();
        Self(EncodingKey::from_ec_pem(pem.as_bytes()).unwrap())
    }

    pub(crate) fn thumbprint(&self) -> String {
        let jwk = Jwk::from_encoding_key(&self.0, Algorithm::ES256).unwrap();
        jwk.thumbprint(ThumbprintHash::SHA256).unwrap()
    }

    /// A proof for the token endpoint, made now.
    pub(crate) fn proof(&self, platform: &TestPlatform) -> String {
        self.proof_with(platform, |_| {})
    }

    pub(crate) fn proof_with(
        &self,
        platform: &TestPlatform,
        change: impl FnOnce(&mut Value),
    ) -> String {
        let mut claims = json!({
            "jti": format!("{:032x}", Entropy::system().u128()),
            "htm": "POST",
            "htu": format!("{}/oauth2/token", platform.running.issuer),
            "iat": platform.now().as_second(),
        });
        change(&mut claims);
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some("dpop+jwt".to_owned());
        header.jwk = Some(Jwk::from_encoding_key(&self.0, Algorithm::ES256).unwrap());
        encode(&header, &claims, &self.0).unwrap()
    }
}
