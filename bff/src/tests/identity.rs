//! Authorization of `/internal/*`, with tokens of a real issuer whose keys are fetched over a
//! socket.

use std::sync::Arc;

use axum::Router;
use axum::routing::post;
use contracts::clock::Clock;
use contracts::env::Env;
use serde_json::{Value, json};
use service_kit::identity::{AccountGroup, Identity, RequireAccount};
use service_kit::request::{Observer, observed};
use service_kit::request_metrics;

use crate::tests::call::TestCall;
use crate::tests::issuer::{AUDIENCE, ISSUER, Issuer};

struct Listener {
    app: Router,
    issuer: Issuer,
}

impl Listener {
    async fn open() -> Self {
        let issuer = Issuer::open().await;
        Self { app: app(Some(issuer.identity(Clock::system()))), issuer }
    }

    fn token(&self, header: &Value, changes: &Value) -> String {
        self.issuer.token(header, changes)
    }

    fn call(&self, path: &str, token: &str) -> TestCall<'_> {
        TestCall::to(&self.app, "POST", path).header("authorization", format!("Bearer {token}"))
    }
}

/// A route of the scheduler's and one of the operators'.
fn app(identity: Option<Arc<Identity>>) -> Router {
    let route = |path| Router::new().route(path, post(async || "{}"));
    let guard = RequireAccount::new(identity, "test_internal_auth_failure_total");
    let app = guard
        .protect(route("/internal/jobs/sweep"), AccountGroup::Scheduler)
        .merge(guard.protect(route("/internal/admin/rules"), AccountGroup::Operators));
    let metrics = request_metrics!("bff_backoffice_internal");
    observed(app, Observer { metrics, env: Env::system() })
}

const JOB: &str = "/internal/jobs/sweep";
const UNAUTHENTICATED: &str = "MELMASTOON.GENERAL.UNAUTHENTICATED";

#[tokio::test]
async fn an_account_may_call_its_own_group_alone() {
    let listener = Listener::open().await;
    let token = listener.token(&json!({}), &json!({}));
    listener.call(JOB, &token).await.status(200);
    let other = listener.call("/internal/admin/rules", &token).await;
    other.problem(403, "MELMASTOON.GENERAL.FORBIDDEN");
    let stranger = listener.token(&json!({}), &json!({"email": "other@platform.test"}));
    listener.call(JOB, &stranger).await.problem(403, "MELMASTOON.GENERAL.FORBIDDEN");
}

#[tokio::test]
async fn without_configuration_every_caller_is_refused() {
    let listener = Listener::open().await;
    let (closed, token) = (app(None), listener.token(&json!({}), &json!({})));
    for call in [TestCall::to(&listener.app, "POST", JOB), listener.call(JOB, &token)] {
        call.through(&closed).await.problem(403, "MELMASTOON.GENERAL.FORBIDDEN");
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
        ("no algorithm", json!({"alg": "none"}), none.clone()),
        ("an algorithm in lower case", json!({"alg": "es256"}), none.clone()),
        ("an extension", json!({"crit": ["exp"]}), none.clone()),
        ("no extension, but the list", json!({"crit": []}), none.clone()),
        ("not valid yet", none.clone(), json!({"nbf": now + 60})),
        ("a start that is no number", none.clone(), json!({"nbf": "0"})),
        ("no subject", none.clone(), json!({"sub": null})),
        ("an empty subject", none.clone(), json!({"sub": ""})),
        ("an end that is a fraction", none, json!({"exp": 1.5e9})),
    ];
    for (name, header, changes) in cases {
        let response = listener.call(JOB, &listener.token(&header, &changes)).await;
        assert_eq!(response.status, 401, "{name}: {}", response.body);
        assert_eq!(response.headers["www-authenticate"], r#"Bearer error="invalid_token""#);
    }
    let forged = Listener::open().await.token(&json!({}), &json!({}));
    listener.call(JOB, &forged).await.problem(401, UNAUTHENTICATED);
}

#[tokio::test]
async fn exactly_one_bearer_token_is_required() {
    let listener = Listener::open().await;
    let token = listener.token(&json!({}), &json!({}));
    let call = || TestCall::to(&listener.app, "POST", JOB);
    let with = |authorization: String| call().header("authorization", authorization);
    for call in [call(), with(token.clone()), with(format!("DPoP {token}"))] {
        let response = call.await.problem(401, UNAUTHENTICATED);
        assert_eq!(response.headers["www-authenticate"], "Bearer");
    }
}

#[tokio::test]
async fn a_token_that_says_something_twice_is_refused() {
    let listener = Listener::open().await;
    let now = Clock::system().unix_seconds();
    let header = r#"{"alg":"ES256","typ":"JWT","kid":"iam-1"}"#;
    let claims = format!(
        r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}","sub":"1","email":"scheduler@platform.test","email_verified":true,"iat":{now},"exp":{}}}"#,
        now + 60
    );
    let good = listener.issuer.token_of_texts(header, &claims);
    listener.call(JOB, &good).await.status(200);
    let twice = [
        (header.replace(r#""kid""#, r#""kid":"x","kid""#), claims.clone()),
        (header.to_owned(), claims.replace(r#""email":"#, r#""email":"x@y.test","email":"#)),
        (header.to_owned(), claims.replace(r#""aud":"#, r#""aud":"x","\u0061ud":"#)),
        (header.to_owned(), format!("{claims} {{}}")),
    ];
    for (header, claims) in twice {
        let token = listener.issuer.token_of_texts(&header, &claims);
        listener.call(JOB, &token).await.problem(401, UNAUTHENTICATED);
    }
}

#[tokio::test]
async fn a_key_embedded_in_a_token_is_not_trusted() {
    let (listener, attacker) = (Listener::open().await, Issuer::open().await);
    let header = json!({"jku": "http://127.0.0.1:1/", "x5u": "http://127.0.0.1:1/"});
    let own = listener.token(&header, &json!({}));
    assert_eq!(listener.call(JOB, &own).await.status, 200, "what is not followed does no harm");
    let stolen = attacker.token(&header, &json!({}));
    listener.call(JOB, &stolen).await.problem(401, UNAUTHENTICATED);
}
