//! The internal listener's routes behind their guard, and the service accounts that call them.

use std::sync::Arc;

use axum::Router;
use contracts::clock::Clock;
use serde_json::json;
use service_kit::identity::{Identity, RequireAccount};

use crate::tests::call::TestCall;
use crate::tests::issuer::{EVENTS, FIRST, SCHEDULER};
use crate::tests::test_gateway::{TestGateway, seen_from_outside};

/// A caller of the internal listener: `gateway.account(SCHEDULER).post(path).await.status(200)`.
pub(crate) struct ServiceAccount<'a> {
    gateway: &'a TestGateway,
    authorization: String,
}

impl TestGateway {
    pub(crate) fn account(&self, email: &str) -> ServiceAccount<'_> {
        let token = self.issuer.token_of(email, &self.clock);
        ServiceAccount { gateway: self, authorization: format!("Bearer {token}") }
    }

    /// Calls the internal listener without a token.
    pub(crate) fn internal(&self, method: &str, path: impl Into<String>) -> TestCall<'_> {
        TestCall::to(&self.internal, method, path)
    }
}

impl<'a> ServiceAccount<'a> {
    pub(crate) fn get(&self, path: impl Into<String>) -> TestCall<'a> {
        self.gateway.internal("GET", path).header("authorization", &self.authorization)
    }

    pub(crate) fn post(&self, path: impl Into<String>) -> TestCall<'a> {
        self.gateway.internal("POST", path).header("authorization", &self.authorization)
    }
}

/// The internal listener's router; without `identity` it permits no account.
pub(crate) fn router(gateway: &TestGateway, identity: Option<Arc<Identity>>) -> Router {
    let guard = RequireAccount::new(identity, "test_internal_auth_failure_total");
    let routes = crate::http::internal_router::routes(gateway.state.clone(), &guard);
    seen_from_outside(Router::new().nest("/internal", routes))
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
    let closed = router(&gateway, None);
    for path in PATHS {
        TestCall::to(&closed, "POST", path).await.problem(403, "MELMASTOON.GENERAL.FORBIDDEN");
        let anonymous = gateway.internal("POST", path).await;
        anonymous.problem(401, "MELMASTOON.GENERAL.UNAUTHENTICATED");
        let stranger = gateway.account("stranger@platform.test").post(path).await;
        stranger.problem(403, "MELMASTOON.GENERAL.FORBIDDEN");
    }
}

#[tokio::test]
async fn each_account_may_call_its_own_routes() {
    let gateway = TestGateway::open().await;
    let (revoke, invalid) = ("/internal/sessions/revoke", "MELMASTOON.GENERAL.VALIDATION_FAILED");
    for stranger in [EVENTS, SCHEDULER] {
        let response = gateway.account(stranger).post(revoke).json(&json!({})).await;
        response.problem(403, "MELMASTOON.GENERAL.FORBIDDEN");
    }
    // Permitted, then refused for its body.
    gateway.account(FIRST).post(revoke).json(&json!({})).await.problem(400, invalid);
    gateway.account(EVENTS).post("/internal/events").json(&json!({})).await.problem(400, invalid);
    // Only who may call the strictest learns what does not exist.
    let unknown = gateway.account(FIRST).post("/internal/nothing").await;
    unknown.problem(404, "MELMASTOON.GENERAL.RESOURCE_NOT_FOUND");
}

#[tokio::test]
async fn an_account_s_token_ends() {
    let gateway = TestGateway::open().await;
    let past = Clock::fixed("2020-01-01T00:00:00Z".parse().unwrap());
    let old = format!("Bearer {}", gateway.issuer.token_of(FIRST, &past));
    let response = gateway.internal("POST", PATHS[0]).header("authorization", old).await;
    response.problem(401, "MELMASTOON.GENERAL.UNAUTHENTICATED");
}
