//! The internal listener: metrics, health, and the keys services verify our request tokens with.
//! Never reachable from outside.

use axum::routing::{get, post};
use axum::{Json, Router};
use http::HeaderValue;
use http::header::CACHE_CONTROL;
use service_kit::health::Readiness;
use service_kit::identity::{Guard, Role};
use service_kit::request::{Observer, observed};
use service_kit::request_metrics;
use service_kit::telemetry::Telemetry;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::handlers::{
    composition, cursor_jobs, edge_orders, events, lock_jobs, probe_isolation, retention_jobs,
    revoke, unfreeze_locks,
};
use crate::state::Gateway;

pub fn app(gateway: Gateway, readiness: Readiness, telemetry: &Telemetry, guard: &Guard) -> Router {
    let keys = gateway.request_tokens.key_set();
    let observer = Observer {
        metrics: request_metrics!("bff_backoffice_internal"),
        clock: gateway.clock.clone(),
        entropy: gateway.entropy.clone(),
    };
    let app = Router::new()
        .nest("/internal", routes(gateway, guard).layer(not_stored()))
        .route("/.well-known/jwks.json", get(move || async move { Json(keys.clone()) }))
        .merge(readiness.router())
        .merge(telemetry.router());
    observed(app, observer)
}

/// Forbids caches to store responses of the internal listener.
fn not_stored() -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::if_not_present(CACHE_CONTROL, HeaderValue::from_static("no-store"))
}

/// What changes something, each group behind the accounts it is for. Unknown paths are behind the
/// strictest, so that nobody learns which exist.
pub fn routes(gateway: Gateway, guard: &Guard) -> Router {
    let unknown = Router::new().fallback(async || http::StatusCode::NOT_FOUND);
    let for_operators =
        revoking(gateway.clone()).merge(ordering(gateway.clone())).merge(reading(gateway.clone()));
    guard
        .around(for_operators, Role::Operators)
        .merge(guard.around(listening(gateway.clone()), Role::Events))
        .merge(guard.around(jobs(gateway), Role::Scheduler))
        .merge(guard.around(unknown, Role::Operators))
}

/// For iam and the operators of the platform.
pub fn revoking(gateway: Gateway) -> Router {
    Router::new().route("/sessions/revoke", post(revoke::revoke)).with_state(gateway)
}

/// For the operators of the platform: break-glass.
fn ordering(gateway: Gateway) -> Router {
    Router::new()
        .route("/admin/edge-rules", get(edge_orders::in_force).post(edge_orders::request))
        .route("/admin/edge-rules/{id}/approve", post(edge_orders::approve))
        .route("/admin/unfreeze-locks", get(unfreeze_locks::state).post(unfreeze_locks::request))
        .route("/admin/unfreeze-locks/{id}/approve", post(unfreeze_locks::approve))
        .with_state(gateway)
}

/// For people who look after the platform.
fn reading(gateway: Gateway) -> Router {
    Router::new().route("/composition", get(composition::get_composition)).with_state(gateway)
}

/// For the scheduler.
fn jobs(gateway: Gateway) -> Router {
    Router::new()
        .route("/jobs/probe-tenant-isolation", post(probe_isolation::probe))
        .route("/jobs/reconcile-cursors", post(cursor_jobs::reconcile))
        .route("/jobs/reconcile-locks", post(lock_jobs::reconcile))
        .route("/jobs/sweep-idempotency", post(retention_jobs::sweep))
        .route("/jobs/verify-lock-audit", post(lock_jobs::verify))
        .with_state(gateway)
}

/// For the event bus.
pub fn listening(gateway: Gateway) -> Router {
    Router::new().route("/events", post(events::take_event)).with_state(gateway)
}
