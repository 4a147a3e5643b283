//! The layer stack of the public listener, outermost first, each layer with its reason.
//!
//! The outer layers are added in one call: each `Router::layer` boxes the inner service, and a
//! router clones its boxes for every request.

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::middleware::{from_fn, from_fn_with_state};
use contracts::headers;
use http::header::{ACCEPT, AGE, AUTHORIZATION, CONTENT_TYPE, ETAG, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Method, Request};
use service_kit::etag;
use service_kit::health::Readiness;
use service_kit::layer::InspectLayer;
use service_kit::request::{Observer, observing};
use service_kit::request_metrics;
use tower::util::MapRequestLayer;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::edge;
use crate::edge::proof_only::require_proof;
use crate::firewall::layers as firewall;
use crate::http::openapi::open_routes;
use crate::http::router::{authenticated_routes, proof_only_routes};
use crate::paths::BASE_PATH;
use crate::reads::cached_read;
use crate::state::Gateway;

/// Bytes of a request body; no route needs more.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// The public listener's application.
pub(crate) fn public(gateway: Gateway, readiness: Readiness, allowed_origins: &[String]) -> Router {
    let (api, _) = authenticated_routes().split_for_parts();
    // 7. Innermost, around the API only: authentication. Deny by default: every route added to the
    //    API is behind it.
    let api = api
        .fallback(not_found)
        .layer((
            from_fn_with_state(gateway.clone(), edge::authenticate),
            // 8. Every read has an entity tag; an unchanged response is 304.
            from_fn(etag::conditional_get),
        ))
        .with_state(gateway.clone());
    // Around token refresh only: a proof without a token.
    let (renewal, _) = proof_only_routes().split_for_parts();
    let renewal = renewal
        .route_layer(from_fn_with_state(gateway.clone(), require_proof))
        .with_state(gateway.clone());
    let api = api.merge(renewal).merge(readiness.router());
    let app = Router::new()
        .nest(BASE_PATH, api)
        .merge(open_routes().layer(from_fn(etag::conditional_get)));
    let metrics = request_metrics!("bff_backoffice");
    let observer = Observer { metrics, env: gateway.env.clone() };
    app.layer((
        // 1. Outermost, so that every response has an id, a metric and a log line, and every error,
        //    also a panic, is a problem.
        (observing(observer), CatchPanicLayer::new()),
        // 2. HSTS.
        SetResponseHeaderLayer::if_not_present(
            http::header::STRICT_TRANSPORT_SECURITY,
            HeaderValue::from_static("max-age=31536000"),
        ),
        // 3. CORS preflights come without credentials, so they are answered before authentication.
        cors(allowed_origins),
        // 4. Deny rules before every other refusal, so that a blocked client learns nothing else.
        InspectLayer(firewall::DenyLayer(gateway.firewall.clone())),
        // 5. A body larger than any route takes is refused before it is read.
        (RequestBodyLimitLayer::new(MAX_BODY_BYTES), MapRequestLayer::new(box_body)),
        // 6. Rate limits and the minimum app version, before any cryptography.
        InspectLayer(firewall::LimitLayer(gateway.firewall.clone())),
    ))
}

/// Boxes the body, as routes require.
fn box_body<B>(request: Request<B>) -> Request<Body>
where
    B: HttpBody<Data = Bytes, Error: Into<axum::BoxError>> + Send + 'static,
{
    request.map(Body::new)
}

async fn not_found() -> http::StatusCode {
    http::StatusCode::NOT_FOUND
}

fn cors(origins: &[String]) -> CorsLayer {
    let origins = origins.iter().filter_map(|origin| origin.parse::<HeaderValue>().ok());
    let request_headers = [
        headers::DPOP,
        headers::DEVICE_ID,
        headers::REQUEST_ID,
        headers::IDEMPOTENCY_KEY,
        headers::MFA_ATTESTATION,
        headers::X_IDEMPOTENCY_KEY,
        headers::APP_VERSION,
        "last-event-id",
    ];
    let request = request_headers.map(HeaderName::from_static).into_iter().chain([
        AUTHORIZATION,
        ACCEPT,
        CONTENT_TYPE,
    ]);
    let response_headers =
        [headers::REQUEST_ID, headers::DPOP_NONCE, headers::IDEMPOTENCY_REPLAYED]
            .map(HeaderName::from_static);
    let response_headers = response_headers.into_iter().chain([
        RETRY_AFTER,
        AGE,
        ETAG,
        cached_read::X_CACHE,
        cached_read::SERVER_TIMING,
        firewall::RATE_LIMIT,
        firewall::RATE_LIMIT_POLICY,
    ]);
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
        .allow_headers(request.collect::<Vec<_>>())
        .expose_headers(response_headers.chain([WWW_AUTHENTICATE]).collect::<Vec<_>>())
}
