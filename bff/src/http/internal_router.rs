//! The internal listener: metrics, health, and the keys services verify our request tokens with.
//! Never reachable from outside.

use axum::routing::{get, post};
use axum::{Json, Router};
use http::HeaderValue;
use http::header::CACHE_CONTROL;
use service_kit::health::Readiness;
use service_kit::identity::{AccountGroup, RequireAccount};
use service_kit::request::{Observer, observed};
use service_kit::request_metrics;
use service_kit::telemetry::Telemetry;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::handlers::internal::admin::{composition, override_rules, unfreeze_locks};
use crate::handlers::internal::jobs::{probe_isolation, reconcile_cursors, reconcile_locks, sweep};
use crate::handlers::internal::{events, sessions};
use crate::state::Gateway;

pub fn app(
    gateway: Gateway,
    readiness: Readiness,
    telemetry: &Telemetry,
    guard: &RequireAccount,
) -> Router {
    let keys = gateway.request_tokens.key_set();
    let observer = Observer {
        metrics: request_metrics!("bff_backoffice_internal"),
        clock: gateway.env.clock.clone(),
        entropy: gateway.env.entropy.clone(),
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
pub fn routes(gateway: Gateway, guard: &RequireAccount) -> Router {
    let unknown = Router::new().fallback(async || http::StatusCode::NOT_FOUND);
    let for_operators =
        revoking(gateway.clone()).merge(ordering(gateway.clone())).merge(reading(gateway.clone()));
    guard
        .protect(for_operators, AccountGroup::Operators)
        .merge(guard.protect(listening(gateway.clone()), AccountGroup::Events))
        .merge(guard.protect(jobs(gateway), AccountGroup::Scheduler))
        .merge(guard.protect(unknown, AccountGroup::Operators))
}

/// For iam and the operators of the platform.
pub fn revoking(gateway: Gateway) -> Router {
    Router::new().route("/sessions/revoke", post(sessions::revoke)).with_state(gateway)
}

/// For the operators of the platform: break-glass.
fn ordering(gateway: Gateway) -> Router {
    Router::new()
        .route("/admin/edge-rules", get(override_rules::in_force).post(override_rules::request))
        .route("/admin/edge-rules/{id}/approve", post(override_rules::approve))
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
        .route("/jobs/reconcile-cursors", post(reconcile_cursors::reconcile))
        .route("/jobs/reconcile-locks", post(reconcile_locks::reconcile))
        .route("/jobs/sweep-idempotency", post(sweep::sweep))
        .route("/jobs/verify-lock-audit", post(reconcile_locks::verify))
        .with_state(gateway)
}

/// For the event bus.
pub fn listening(gateway: Gateway) -> Router {
    Router::new().route("/events", post(events::take_event)).with_state(gateway)
}
