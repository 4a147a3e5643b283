//! Test harness for services: a gateway that signs real request tokens, and requests through the whole
//! router. Not used by running servers.

use std::fs;
use std::path::Path;

use auth::Principal;
use auth::request_token::RequestTokens;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use axum::Router;
use axum::body::Body;
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use contracts::clock::{Clock, Entropy};
use contracts::headers::TENANT_ID;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use jiff::Timestamp;
use serde_json::Value;
use tower::ServiceExt;

use crate::caller::callers;
use crate::config::{CallersConfig, PostgresConfig};
use crate::identity::Identity;
use crate::lifecycle::Lifecycle;
use crate::postgres::Database;
use crate::serve::{Plain, bind, serve};
use crate::service::{Service, Shared};
use crate::testing::issuer::Issuer;

pub mod contract;
pub mod fixtures;
pub mod issuer;
pub mod malformed;
pub mod proxy;

const ISSUER: &str = "bff-backoffice";

/// A service on a real database, with a gateway whose keys it fetches over HTTP.
#[derive(Debug)]
pub struct Harness {
    pub app: Router,
    service: Service,
    tokens: RequestTokens,
    issuer: Issuer,
    lifecycle: Lifecycle,
}

impl Harness {
    /// `now` is the time of the service and of the gateway.
    pub async fn start(service: Service, postgres_url: &str, now: Timestamp) -> Self {
        let (lifecycle, clock) = (Lifecycle::new(), Clock::fixed(now));
        let tokens = RequestTokens::new(ISSUER, &key(), clock.clone(), Entropy::system())
            .expect("the key was just made");
        let jwks_url = serve_keys(&tokens, &lifecycle).await;
        let config = CallersConfig { jwks_url, issuer: ISSUER.to_owned() };
        let postgres = postgres(postgres_url, 4);
        let shared = Shared {
            callers: callers(&config, service.name, clock.clone()),
            database: Database::new(&postgres).expect("the test database has a URL"),
            clock: clock.clone(),
            entropy: Entropy::system(),
        };
        let issuer = Issuer::open(clock.clone(), &lifecycle).await;
        let identity = Identity::configured(Some(&issuer.config), clock);
        let metrics = Router::new().route("/metrics", get(async || ""));
        let app = service.app(shared, identity, &lifecycle, metrics);
        Self { app, service, tokens, issuer, lifecycle }
    }

    /// A request without a token.
    pub fn get(&self, path: &str) -> TestRequest<'_> {
        let request = Request::get(path).body(Body::empty()).expect("the path is a URI");
        TestRequest { harness: self, request }
    }

    /// A request with a JSON body, without a token.
    pub fn post(&self, path: &str, body: &Value) -> TestRequest<'_> {
        self.post_text(path, &body.to_string())
    }

    /// A request with a body that need not be JSON, without a token.
    pub fn post_text(&self, path: &str, body: &str) -> TestRequest<'_> {
        let request = Request::post(path).header(CONTENT_TYPE, "application/json");
        let request = request.body(Body::from(body.to_owned())).expect("the path is a URI");
        TestRequest { harness: self, request }
    }

    /// The token the gateway would send to the service named `audience`.
    pub fn token(&self, principal: &Principal, audience: &'static str) -> String {
        self.tokens.token_for(principal, audience).to_string()
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        self.lifecycle.stop();
    }
}

/// A fresh P-256 key in PKCS#8 PEM.
fn key() -> Vec<u8> {
    let document =
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .expect("a key can be made");
    let body = STANDARD.encode(document.as_ref());
    format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n").into_bytes()
}

async fn serve_keys(tokens: &RequestTokens, lifecycle: &Lifecycle) -> String {
    serve_document(serde_json::to_string(&tokens.key_set()).expect("it is plain JSON"), lifecycle)
        .await
}

/// Serves a key set on its own socket and returns its URL.
async fn serve_document(keys: String, lifecycle: &Lifecycle) -> String {
    let app = Router::new().route("/jwks", get(async || keys));
    let address = "127.0.0.1:0".parse().expect("an address");
    let listener = bind(address).await.expect("some port is free");
    let address = listener.local_addr().expect("it is bound");
    serve(listener, Plain, app, lifecycle);
    format!("http://{address}/jwks")
}

/// Settings of a pool with a long timeout, because the machine may be busy.
pub fn postgres(url: &str, pool: usize) -> PostgresConfig {
    PostgresConfig { url: url.to_owned().into(), pool, wait_ms: 10_000 }
}

/// Prepares every statement as the service's role.
///
/// # Panics
/// When a statement does not fit the schema or the rights of the role.
pub async fn prepare_all(postgres_url: &str, statements: &[String]) {
    let database = Database::new(&postgres(postgres_url, 1)).expect("the test database has a URL");
    let connection = database.connection().await.expect("the test database answers");
    for statement in statements {
        if let Err(error) = connection.prepare(statement).await {
            panic!("{error:?} in {statement}");
        }
    }
}

/// The statements of the crate in the folder `package`: the literals of constants whose names end with
/// `_SQL`, without those of parts, which end with `_CONDITION_SQL`, and without those of tests.
///
/// # Panics
/// When a file cannot be read, or none has a statement.
pub fn statements_in(package: &str) -> Vec<String> {
    let (mut found, mut folders) = (Vec::new(), vec![Path::new(package).join("src")]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder of sources can be read").flatten() {
            let path = entry.path();
            if path.ends_with("tests") || path.ends_with("tests.rs") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(path).expect("a source can be read");
            let constants = text.split("const ").filter_map(|rest| rest.split_once("_SQL: &"));
            let whole = constants.filter(|(name, _)| !name.ends_with("_CONDITION"));
            found.extend(whole.filter_map(|(_, rest)| {
                let literal = rest.split_once('=')?.1.trim_start().strip_prefix('"')?;
                Some(literal.replace("\\\"", "\u{1}").split('"').next()?.replace('\u{1}', "\""))
            }));
        }
    }
    assert!(!found.is_empty(), "no statement was found in {package}/src");
    found
}

/// Compares a generated document with the committed one; with `UPDATE_DOCUMENTS=1` writes it.
///
/// # Panics
/// When they differ.
pub fn assert_committed(path: &str, generated: &str) {
    if figment::providers::Env::var("UPDATE_DOCUMENTS").is_some() {
        std::fs::write(path, generated).expect("the document can be written");
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    let advice = "run the test again with UPDATE_DOCUMENTS=1 and commit the file";
    assert!(committed == generated, "{path} differs from the code; {advice}");
}

/// A request to send.
#[derive(Debug)]
#[must_use = "send it"]
pub struct TestRequest<'a> {
    harness: &'a Harness,
    request: Request<Body>,
}

impl TestRequest<'_> {
    /// Adds the headers that the gateway sends for this operator.
    pub fn by(self, principal: &Principal) -> Self {
        let token = self.harness.token(principal, self.harness.service.name);
        self.header(TENANT_ID, principal.tenant.as_str())
            .header(AUTHORIZATION.as_str(), &format!("Bearer {token}"))
    }

    /// Adds the token of a service account of [`issuer`].
    pub fn by_account(self, email: &str) -> Self {
        let token = self.harness.issuer.token(email);
        self.header(AUTHORIZATION.as_str(), &format!("Bearer {token}"))
    }

    pub fn method(mut self, method: Method) -> Self {
        *self.request.method_mut() = method;
        self
    }

    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.request.headers_mut().insert(name, value.parse().expect("a header value"));
        self
    }

    pub fn as_head(mut self) -> Self {
        *self.request.method_mut() = Method::HEAD;
        self
    }

    /// A further line of the header.
    pub fn another_header(mut self, name: &'static str, value: &str) -> Self {
        self.request.headers_mut().append(name, value.parse().expect("a header value"));
        self
    }

    pub async fn send(self) -> TestResponse {
        let app = self.harness.app.clone();
        let response = app.oneshot(self.request).await.expect("a router does not fail");
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("the body is whole").to_bytes();
        let body = if bytes.is_empty() { Value::Null } else { json(&bytes) };
        TestResponse { status: parts.status, headers: parts.headers, body }
    }
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("every body of a service is JSON")
}

#[derive(Debug)]
pub struct TestResponse {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

impl TestResponse {
    /// The body of a 200.
    ///
    /// # Panics
    /// On any other status.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.body);
        self.body
    }

    /// Asserts that the response is a problem with this code, without its first segment:
    /// `GENERAL.INTERNAL`.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn assert_problem(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(self.body["code"], format!("MELMASTOON.{code}"), "{}", self.body);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert!(self.body["requestId"].is_string(), "{}", self.body);
    }

    /// Asserts that the response is a 400 that names this field.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn assert_invalid_field(&self, field: &str) {
        self.assert_problem(400, "GENERAL.VALIDATION_FAILED");
        assert_eq!(self.body["errors"][0]["field"], field, "{}", self.body);
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}
