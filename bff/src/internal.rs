//! The internal listener: metrics, health, and the keys services verify our request tokens with.
//! Never reachable from outside.

use std::sync::Arc;

use axum::routing::{get, post};
use axum::{Json, Router};
use service_kit::health::Readiness;
use service_kit::request::{Observer, observed};
use service_kit::request_metrics;
use service_kit::telemetry::Telemetry;

use crate::handlers::{events, revoke};
use crate::state::Gateway;

pub mod identity;

use identity::{Identity, Role, guarded};

pub fn app(
    gateway: Gateway,
    readiness: Readiness,
    telemetry: &Telemetry,
    identity: Option<Arc<Identity>>,
) -> Router {
    let keys = gateway.request_tokens.key_set();
    let observer = Observer {
        metrics: request_metrics!("bff_backoffice_internal"),
        clock: gateway.clock.clone(),
        entropy: gateway.entropy.clone(),
    };
    let app = Router::new()
        .nest("/internal", internal(gateway, identity))
        .route("/.well-known/jwks.json", get(move || async move { Json(keys.clone()) }))
        .merge(readiness.router())
        .merge(telemetry.router());
    observed(app, observer)
}

/// What changes something, each group behind the accounts it is for. Unknown paths are behind the
/// strictest, so that nobody learns which exist.
fn internal(gateway: Gateway, identity: Option<Arc<Identity>>) -> Router {
    let unknown = Router::new().fallback(async || http::StatusCode::NOT_FOUND);
    guarded(revoking(gateway.clone()), Role::Operators, identity.clone())
        .merge(guarded(listening(gateway), Role::Events, identity.clone()))
        .merge(guarded(unknown, Role::Operators, identity))
}

/// For iam and the operators of the platform.
pub fn revoking(gateway: Gateway) -> Router {
    Router::new().route("/sessions/revoke", post(revoke::revoke)).with_state(gateway)
}

/// For the event bus.
pub fn listening(gateway: Gateway) -> Router {
    Router::new().route("/events", post(events::take_event)).with_state(gateway)
}
