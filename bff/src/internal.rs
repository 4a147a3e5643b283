//! The internal listener: metrics, health, and the keys services verify our request tokens with.
//! Never reachable from outside.

use std::sync::Arc;

use auth::request_token::RequestTokens;
use axum::routing::{get, post};
use axum::{Json, Router};
use contracts::clock::{Clock, Entropy};
use service_kit::health::Readiness;
use service_kit::request::{Observer, observed};
use service_kit::request_metrics;
use service_kit::telemetry::Telemetry;

use crate::handlers::{events, revoke};
use crate::state::Gateway;

/// What the platform asks of the gateway. The listener is private; that is its guard so far.
pub fn orders(gateway: Gateway) -> Router {
    Router::new()
        .route("/internal/sessions/revoke", post(revoke::revoke))
        .route("/internal/events", post(events::take_event))
        .with_state(gateway)
}

pub fn app(
    tokens: &Arc<RequestTokens>,
    orders: Router,
    readiness: Readiness,
    telemetry: &Telemetry,
    clock: Clock,
    entropy: Entropy,
) -> Router {
    let keys = tokens.key_set();
    let app = Router::new()
        .route("/.well-known/jwks.json", get(move || async move { Json(keys.clone()) }))
        .merge(orders)
        .merge(readiness.router())
        .merge(telemetry.router());
    observed(app, Observer { metrics: request_metrics!("bff_backoffice_internal"), clock, entropy })
}
