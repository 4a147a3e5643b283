//! `/health/live` (the process runs) and `/health/ready` (its dependencies are available).

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
use tokio::sync::Mutex;
use tokio::time::Instant;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::lifecycle::Lifecycle;

/// Health reports are not cached.
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// Timeout of one check.
const CHECK_TIMEOUT: Duration = Duration::from_millis(500);
/// How old a report may be, counted from the start of its checks.
const REPORT_MAX_AGE: Duration = Duration::from_secs(1);

type Probe = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// The dependencies of a program, and what the user loses without each.
#[derive(Clone, derive_more::Debug)]
#[debug("{:?}", checks.iter().map(|check| check.name).collect::<Vec<_>>())]
pub struct Readiness {
    checks: Vec<Check>,
    lifecycle: Lifecycle,
    /// Locked while the checks run, so that concurrent requests share one run.
    last: Arc<Mutex<Option<CheckRun>>>,
}

/// The last run of the checks.
#[derive(Debug, Clone)]
struct CheckRun {
    began: Instant,
    reports: Arc<[CheckReport]>,
}

#[derive(Clone)]
struct Check {
    name: &'static str,
    cost: &'static str,
    required: bool,
    probe: Probe,
}

#[derive(Debug, Serialize)]
struct CheckReport {
    name: &'static str,
    /// `up` or `down`.
    state: &'static str,
    required: bool,
    /// What the user loses while it is down.
    cost: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Debug, Serialize)]
struct Report {
    status: &'static str,
    checks: Arc<[CheckReport]>,
}

impl Readiness {
    pub fn new(lifecycle: Lifecycle) -> Self {
        Self { checks: Vec::new(), lifecycle, last: Arc::default() }
    }

    /// Adds a dependency without which the program is not ready.
    #[must_use]
    pub fn requires<F>(self, name: &'static str, cost: &'static str, probe: F) -> Self
    where
        F: Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync + 'static,
    {
        self.with(Check { name, cost, required: true, probe: Arc::new(probe) })
    }

    /// Adds a dependency without which the program works in part.
    #[must_use]
    pub fn uses<F>(self, name: &'static str, cost: &'static str, probe: F) -> Self
    where
        F: Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync + 'static,
    {
        self.with(Check { name, cost, required: false, probe: Arc::new(probe) })
    }

    fn with(mut self, check: Check) -> Self {
        self.checks.push(check);
        // A report from before does not have this check.
        self.last = Arc::default();
        self
    }

    /// The routes `/health/live` and `/health/ready`.
    pub fn router(self) -> Router {
        Router::new()
            .route("/health/live", get(live))
            .route("/health/ready", get(ready))
            .with_state(self)
            .layer(SetResponseHeaderLayer::overriding(CACHE_CONTROL, NO_STORE))
    }

    async fn report(&self) -> (bool, Report) {
        let checks = self.recent().await;
        let up = checks.iter().all(|check| !check.required || check.reason.is_none());
        let status = match (self.lifecycle.is_stopping(), up) {
            (true, _) => "draining",
            (false, true) => "ready",
            (false, false) => "down",
        };
        (status == "ready", Report { status, checks })
    }

    /// The reports, at most [`REPORT_MAX_AGE`] old: however many requests, the checks run once a second.
    async fn recent(&self) -> Arc<[CheckReport]> {
        let mut last = self.last.lock().await;
        if let Some(run) = last.as_ref().filter(|run| run.began.elapsed() < REPORT_MAX_AGE) {
            return Arc::clone(&run.reports);
        }
        let began = Instant::now();
        let reports: Arc<[CheckReport]> = join_all(self.checks.iter().map(run)).await.into();
        *last = Some(CheckRun { began, reports: Arc::clone(&reports) });
        reports
    }
}

async fn run(check: &Check) -> CheckReport {
    let outcome = tokio::time::timeout(CHECK_TIMEOUT, (check.probe)()).await;
    let reason = match outcome {
        Ok(Ok(())) => None,
        Ok(Err(reason)) => Some(reason),
        Err(_) => Some(format!("no reply within {} ms", CHECK_TIMEOUT.as_millis())),
    };
    let state = if reason.is_none() { "up" } else { "down" };
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::body::Body;
    use futures_util::FutureExt;
    use http::Request;
    use tower::ServiceExt;

    use super::*;

    /// A program whose one check takes a while and counts its runs.
    fn program() -> (Router, Arc<AtomicUsize>) {
        let runs = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&runs);
        let readiness = Readiness::new(Lifecycle::new()).requires("check", "nothing", move || {
            let run = counted.fetch_add(1, Ordering::SeqCst);
            async move {
                tokio::time::sleep(Duration::from_millis(100)).await;
                if run == 1 { Err("down".to_owned()) } else { Ok(()) }
            }
            .boxed()
        });
        (readiness.router(), runs)
    }

    async fn status(app: &Router) -> StatusCode {
        let request = Request::get("/health/ready").body(Body::empty()).unwrap();
        app.clone().oneshot(request).await.unwrap().status()
    }

    #[tokio::test(start_paused = true)]
    async fn requests_at_the_same_time_and_within_a_second_share_one_check() {
        let (app, runs) = program();
        let flood = join_all((0..500).map(|_| status(&app))).await;
        assert!(flood.iter().all(|status| *status == StatusCode::OK));
        tokio::time::sleep(Duration::from_millis(850)).await;
        assert_eq!(status(&app).await, StatusCode::OK);
        assert_eq!(runs.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_from_a_check_of_the_last_second() {
        let (app, runs) = program();
        for wanted in [StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE, StatusCode::OK] {
            assert_eq!(status(&app).await, wanted);
            tokio::time::sleep(REPORT_MAX_AGE).await;
        }
        assert_eq!(runs.load(Ordering::SeqCst), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_disconnected_client_does_not_cancel_the_report() {
        let (app, runs) = program();
        let impatient = tokio::time::timeout(Duration::from_millis(10), status(&app));
        assert!(impatient.await.is_err());
        assert_eq!(status(&app).await, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(runs.load(Ordering::SeqCst), 2);
    }
}
