//! The internal listener's routes behind their guard, as they are served.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use contracts::clock::Clock;
use http::Request;
use serde_json::{Value, json};
use service_kit::identity::{Identity, RequireAccount};

use crate::tests::issuer::{EVENTS, FIRST, Issuer, SCHEDULER};
use crate::tests::test_gateway::{Answer, TestGateway, seen_from_outside, send_to};

/// A gateway whose internal listener authenticates its callers.
pub(crate) struct Guarded {
    pub(crate) gateway: TestGateway,
    pub(crate) issuer: Issuer,
    app: Router,
}

impl Guarded {
    pub(crate) async fn open() -> Self {
        Self::around(TestGateway::open().await, Issuer::open().await)
    }

    pub(crate) fn around(gateway: TestGateway, issuer: Issuer) -> Self {
        let identity = Some(issuer.identity(gateway.clock.clone()));
        let app = app(&gateway, identity);
        Self { gateway, issuer, app }
    }

    /// Sends a request as this service account, or without one.
    pub(crate) async fn post(&self, path: &str, account: Option<&str>, body: &Value) -> Answer {
        let token = account.map(|email| self.issuer.token_of(email, &self.gateway.clock));
        send_to(&self.app, request("POST", path, token.as_deref(), body)).await
    }

    pub(crate) async fn get(&self, path: &str, account: &str) -> Answer {
        let token = self.issuer.token_of(account, &self.gateway.clock);
        send_to(&self.app, request("GET", path, Some(&token), &Value::Null)).await
    }
}

pub(crate) fn app(gateway: &TestGateway, identity: Option<Arc<Identity>>) -> Router {
    let guard = RequireAccount::new(identity, "test_internal_auth_failure_total");
    let routes = crate::http::internal_router::routes(gateway.state.clone(), &guard);
    seen_from_outside(Router::new().nest("/internal", routes))
}

pub(crate) fn request(
    method: &str,
    path: &str,
    token: Option<&str>,
    body: &Value,
) -> Request<Body> {
    let mut request =
        Request::builder().method(method).uri(path).header("content-type", "application/json");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    request.body(Body::from(body.to_string())).unwrap()
}

/// Every existing path, one unknown path in each group, and one outside of all.
const PATHS: [&str; 6] = [
    "/internal/sessions/revoke",
    "/internal/events",
    "/internal/admin/nothing",
    "/internal/jobs/nothing",
    "/internal/nothing",
    "/internal",
];

#[tokio::test]
async fn every_internal_route_is_closed_without_a_configured_account() {
    let gateway = TestGateway::open().await;
    let closed = app(&gateway, None);
    for path in PATHS {
        let answer = send_to(&closed, request("POST", path, None, &json!({}))).await;
        answer.is_problem(403, "MELMASTOON.GENERAL.FORBIDDEN");
    }
    let guarded = Guarded::around(gateway, Issuer::open().await);
    for path in PATHS {
        let answer = guarded.post(path, None, &json!({})).await;
        answer.is_problem(401, "MELMASTOON.GENERAL.UNAUTHENTICATED");
        let answer = guarded.post(path, Some("stranger@platform.test"), &json!({})).await;
        answer.is_problem(403, "MELMASTOON.GENERAL.FORBIDDEN");
    }
}

#[tokio::test]
async fn each_account_may_call_its_own_routes() {
    let guarded = Guarded::open().await;
    let revoke = "/internal/sessions/revoke";
    for stranger in [EVENTS, SCHEDULER] {
        let answer = guarded.post(revoke, Some(stranger), &json!({})).await;
        answer.is_problem(403, "MELMASTOON.GENERAL.FORBIDDEN");
    }
    // Permitted, then refused for its body.
    guarded
        .post(revoke, Some(FIRST), &json!({}))
        .await
        .is_problem(400, "MELMASTOON.GENERAL.VALIDATION_FAILED");
    guarded
        .post("/internal/events", Some(EVENTS), &json!({}))
        .await
        .is_problem(400, "MELMASTOON.GENERAL.VALIDATION_FAILED");
    // Only who may call the strictest learns what does not exist.
    guarded
        .post("/internal/nothing", Some(FIRST), &json!({}))
        .await
        .is_problem(404, "MELMASTOON.GENERAL.RESOURCE_NOT_FOUND");
}

#[tokio::test]
async fn an_account_s_token_ends() {
    let guarded = Guarded::open().await;
    let past = Clock::fixed("2020-01-01T00:00:00Z".parse().unwrap());
    let old = guarded.issuer.token_of(FIRST, &past);
    let answer =
        send_to(&guarded.app, request("POST", "/internal/sessions/revoke", Some(&old), &json!({})))
            .await;
    answer.is_problem(401, "MELMASTOON.GENERAL.UNAUTHENTICATED");
}
