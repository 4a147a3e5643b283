//! The internal listener: metrics, health, and the keys services verify our request tokens with.
//! Never reachable from outside.

use axum::routing::{get, post};
use axum::{Json, Router};
use service_kit::health::Readiness;
use service_kit::identity::{Guard, Role};
use service_kit::request::{Observer, observed};
use service_kit::request_metrics;
use service_kit::telemetry::Telemetry;

use crate::handlers::{edge_orders, events, probe_isolation, revoke};
use crate::state::Gateway;

pub fn app(gateway: Gateway, readiness: Readiness, telemetry: &Telemetry, guard: &Guard) -> Router {
    let keys = gateway.request_tokens.key_set();
    let observer = Observer {
        metrics: request_metrics!("bff_backoffice_internal"),
        clock: gateway.clock.clone(),
        entropy: gateway.entropy.clone(),
    };
    let app = Router::new()
        .nest("/internal", routes(gateway, guard))
        .route("/.well-known/jwks.json", get(move || async move { Json(keys.clone()) }))
        .merge(readiness.router())
        .merge(telemetry.router());
    observed(app, observer)
}

/// What changes something, each group behind the accounts it is for. Unknown paths are behind the
/// strictest, so that nobody learns which exist.
pub fn routes(gateway: Gateway, guard: &Guard) -> Router {
    let unknown = Router::new().fallback(async || http::StatusCode::NOT_FOUND);
    guard
        .around(revoking(gateway.clone()).merge(ordering(gateway.clone())), Role::Operators)
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
        .with_state(gateway)
}

/// For the scheduler.
fn jobs(gateway: Gateway) -> Router {
    Router::new()
        .route("/jobs/probe-tenant-isolation", post(probe_isolation::probe))
        .with_state(gateway)
}

/// For the event bus.
pub fn listening(gateway: Gateway) -> Router {
    Router::new().route("/events", post(events::take_event)).with_state(gateway)
}
