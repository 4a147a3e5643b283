//! `/health/live` (the process runs) and `/health/ready` (it can do its work).

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures_util::future::{BoxFuture, join_all};
use http::header::CACHE_CONTROL;
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::lifecycle::Lifecycle;

/// Nobody keeps what was true a moment ago.
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// Longest time one check may take.
const LIMIT: Duration = Duration::from_millis(500);

type Probe = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// What a program needs, and what its absence costs the user.
#[derive(Clone)]
pub struct Readiness {
    checks: Vec<Check>,
    lifecycle: Lifecycle,
}

impl std::fmt::Debug for Readiness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.checks.iter().map(|check| check.name)).finish()
    }
}

#[derive(Clone)]
struct Check {
    name: &'static str,
    cost: &'static str,
    required: bool,
    probe: Probe,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Condition {
    Up,
    Down,
}

#[derive(Debug, Serialize)]
struct CheckReport {
    name: &'static str,
    state: Condition,
    required: bool,
    /// What the user loses while it is down.
    cost: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Debug, Serialize)]
struct Report {
    status: &'static str,
    checks: Vec<CheckReport>,
}

impl Readiness {
    pub fn new(lifecycle: Lifecycle) -> Self {
        Self { checks: Vec::new(), lifecycle }
    }

    /// Without it the program is not ready.
    #[must_use]
    pub fn requires<F>(self, name: &'static str, cost: &'static str, probe: F) -> Self
    where
        F: Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync + 'static,
    {
        self.with(Check { name, cost, required: true, probe: Arc::new(probe) })
    }

    /// Without it the program works, with a cost.
    #[must_use]
    pub fn uses<F>(self, name: &'static str, cost: &'static str, probe: F) -> Self
    where
        F: Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync + 'static,
    {
        self.with(Check { name, cost, required: false, probe: Arc::new(probe) })
    }

    fn with(mut self, check: Check) -> Self {
        self.checks.push(check);
        self
    }

    /// The two routes.
    pub fn router(self) -> Router {
        Router::new()
            .route("/health/live", get(live))
            .route("/health/ready", get(ready))
            .with_state(self)
            .layer(SetResponseHeaderLayer::overriding(CACHE_CONTROL, NO_STORE))
    }

    async fn report(&self) -> (bool, Report) {
        let checks = join_all(self.checks.iter().map(run)).await;
        let up = checks.iter().all(|check| !check.required || matches!(check.state, Condition::Up));
        let status = match (self.lifecycle.is_stopping(), up) {
            (true, _) => "draining",
            (false, true) => "ready",
            (false, false) => "down",
        };
        (status == "ready", Report { status, checks })
    }
}

async fn run(check: &Check) -> CheckReport {
    let outcome = tokio::time::timeout(LIMIT, (check.probe)()).await;
    let reason = match outcome {
        Ok(Ok(())) => None,
        Ok(Err(reason)) => Some(reason),
        Err(_) => Some(format!("no answer within {} ms", LIMIT.as_millis())),
    };
    let state = if reason.is_none() { Condition::Up } else { Condition::Down };
    CheckReport { name: check.name, state, required: check.required, cost: check.cost, reason }
}

async fn live() -> Json<serde_json::Value> {
    Json(serde_json::json!({"status": "live"}))
}

async fn ready(State(readiness): State<Readiness>) -> Response {
    let (ready, report) = readiness.report().await;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(report)).into_response()
}
