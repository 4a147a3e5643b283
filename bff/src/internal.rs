//! The internal listener: metrics, health, and the keys services verify our request tokens with.
//! Never reachable from outside.

use std::sync::Arc;

use auth::request_token::RequestTokens;
use axum::routing::get;
use axum::{Json, Router};
use contracts::clock::{Clock, Entropy};
use service_kit::health::Readiness;
use service_kit::request::{Observer, observed};
use service_kit::request_metrics;
use service_kit::telemetry::Telemetry;

pub fn app(
    tokens: &Arc<RequestTokens>,
    readiness: Readiness,
    telemetry: &Telemetry,
    clock: Clock,
    entropy: Entropy,
) -> Router {
    let keys = tokens.key_set();
    let app = Router::new()
        .route("/.well-known/jwks.json", get(move || async move { Json(keys.clone()) }))
        .merge(readiness.router())
        .merge(telemetry.router());
    observed(app, Observer { metrics: request_metrics!("bff_backoffice_internal"), clock, entropy })
}
