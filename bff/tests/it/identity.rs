//! Who may call `/internal/*`, with tokens of a real issuer whose keys are fetched over a socket.

use std::sync::Arc;
use std::time::Duration;

use auth::edge::RemoteKeys;
use axum::Router;
use axum::body::Body;
use axum::routing::post;
use bff::config::{AccountsConfig, OidcConfig};
use bff::internal::identity::{Identity, Role, guarded};
use contracts::clock::{Clock, Entropy};
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use service_kit::request::{Observer, observed};
use service_kit::request_metrics;
use tower::ServiceExt;

use crate::house::{Answer, Key, serve_keys};

const ISSUER: &str = "https://accounts.test";
const AUDIENCE: &str = "https://gateway.internal.test";
const SCHEDULER: &str = "scheduler@platform.test";

struct Listener {
    app: Router,
    issuer: Key,
}

impl Listener {
    async fn open() -> Self {
        let issuer = Key::new();
        let config = OidcConfig {
            issuer: ISSUER.into(),
            jwks_url: serve_keys(&issuer).await,
            audience: AUDIENCE.into(),
            accounts: AccountsConfig { scheduler: vec![SCHEDULER.into()], ..Default::default() },
        };
        let client = service_kit::http_client::short_requests();
        let keys = RemoteKeys::new(config.jwks_url.clone(), client, Duration::from_secs(1));
        let identity = Identity::new(&config, keys, Clock::system());
        Self { app: app(Some(Arc::new(identity))), issuer }
    }

    /// A token that is good but for the changes; `null` takes a claim away.
    fn token(&self, header: &Value, changes: &Value) -> String {
        let now = Clock::system().unix_seconds();
        let mut claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": "1104", "email": SCHEDULER,
            "email_verified": true, "iat": now, "exp": now + 3600,
        });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        let mut all = json!({"alg": "ES256", "typ": "JWT", "kid": "iam-1"});
        for (name, value) in header.as_object().unwrap() {
            all[name] = value.clone();
        }
        self.issuer.sign(&all, &claims)
    }

    async fn call(&self, path: &str, token: &str) -> Answer {
        call(&self.app, path, Some(&format!("Bearer {token}"))).await
    }
}

/// A route of the scheduler's and one of the operators'.
fn app(identity: Option<Arc<Identity>>) -> Router {
    let route = |path| Router::new().route(path, post(async || "{}"));
    let app = guarded(route("/internal/jobs/sweep"), Role::Scheduler, identity.clone())
        .merge(guarded(route("/internal/admin/rules"), Role::Operators, identity));
    let metrics = request_metrics!("bff_backoffice_internal");
    observed(app, Observer { metrics, clock: Clock::system(), entropy: Entropy::system() })
}

async fn call(app: &Router, path: &str, authorization: Option<&str>) -> Answer {
    let mut request = Request::post(path);
    if let Some(value) = authorization {
        request = request.header("authorization", value);
    }
    let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let body = serde_json::from_slice(&bytes).unwrap_or_default();
    Answer { status: parts.status, headers: parts.headers, body }
}

const JOB: &str = "/internal/jobs/sweep";

#[tokio::test]
async fn an_account_may_call_its_own_group_alone() {
    let listener = Listener::open().await;
    let token = listener.token(&json!({}), &json!({}));
    assert_eq!(listener.call(JOB, &token).await.status, 200);
    let other = listener.call("/internal/admin/rules", &token).await;
    other.is_problem(403, "MELMASTOON.GENERAL.FORBIDDEN");
    let stranger = listener.token(&json!({}), &json!({"email": "other@platform.test"}));
    listener.call(JOB, &stranger).await.is_problem(403, "MELMASTOON.GENERAL.FORBIDDEN");
}

#[tokio::test]
async fn without_configuration_nobody_may() {
    let listener = Listener::open().await;
    let token = format!("Bearer {}", listener.token(&json!({}), &json!({})));
    for authorization in [None, Some(token.as_str())] {
        let answer = call(&app(None), JOB, authorization).await;
        answer.is_problem(403, "MELMASTOON.GENERAL.FORBIDDEN");
    }
}

#[tokio::test]
async fn a_token_that_does_not_hold_is_refused() {
    let listener = Listener::open().await;
    let now = Clock::system().unix_seconds();
    let none = json!({});
    let cases = [
        ("issuer", none.clone(), json!({"iss": "https://evil.test"})),
        ("audience", none.clone(), json!({"aud": "https://other.test"})),
        ("several audiences", none.clone(), json!({"aud": [AUDIENCE, "https://other.test"]})),
        ("no audience", none.clone(), json!({"aud": null})),
        ("expired", none.clone(), json!({"iat": now - 3600, "exp": now - 1})),
        ("of the future", none.clone(), json!({"iat": now + 60, "exp": now + 3660})),
        ("too long", none.clone(), json!({"exp": now + 86_400})),
        ("the smallest time", none.clone(), json!({"iat": i64::MIN})),
        ("email not verified", none.clone(), json!({"email_verified": false})),
        ("email verified as text", none.clone(), json!({"email_verified": "true"})),
        ("no email", none.clone(), json!({"email": null})),
        ("an access token", json!({"typ": "at+jwt"}), none.clone()),
        ("an unknown key", json!({"kid": "other"}), none.clone()),
        ("an algorithm of another key", json!({"alg": "RS256"}), none.clone()),
        ("no algorithm", json!({"alg": "none"}), none),
    ];
    for (name, header, changes) in cases {
        let answer = listener.call(JOB, &listener.token(&header, &changes)).await;
        assert_eq!(answer.status, 401, "{name}: {}", answer.body);
        assert_eq!(answer.headers["www-authenticate"], r#"Bearer error="invalid_token""#);
    }
    let forged = Listener::open().await.token(&json!({}), &json!({}));
    listener.call(JOB, &forged).await.is_problem(401, "MELMASTOON.GENERAL.UNAUTHENTICATED");
}

#[tokio::test]
async fn one_token_under_bearer_must_be_sent() {
    let listener = Listener::open().await;
    let token = listener.token(&json!({}), &json!({}));
    for authorization in [None, Some(token.as_str()), Some(&format!("DPoP {token}"))] {
        let answer = call(&listener.app, JOB, authorization).await;
        answer.is_problem(401, "MELMASTOON.GENERAL.UNAUTHENTICATED");
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
    }
}
