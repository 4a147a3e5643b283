//! The whole stack of the public listener, outermost first. Each layer says why it stands there.
//!
//! The layers around everything are put on in one go: each further `Router::layer` would box what
//! is inside it, and a router clones its boxes for every request.

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
use crate::edge::proof_only::prove;
use crate::firewall::layers as edge_rules;
use crate::http::openapi::open_routes;
use crate::http::router::{guarded, proven};
use crate::paths::BASE_PATH;
use crate::reads::cached_read;
use crate::state::Gateway;

/// Bytes of a request body; no route needs more.
const LARGEST_BODY: usize = 1024 * 1024;

/// The public listener's application.
pub fn public(gateway: Gateway, readiness: Readiness, allowed_origins: &[String]) -> Router {
    let (api, _) = guarded().split_for_parts();
    // 7. Innermost, around the API alone: who is calling. Deny by default: a route added to the
    //    API is behind it without doing anything.
    let api = api
        .fallback(not_found)
        .layer((
            from_fn_with_state(gateway.clone(), edge::authenticate),
            // 8. Every read has an entity tag, and what the caller holds is not sent again.
            from_fn(etag::conditional_get),
        ))
        .with_state(gateway.clone());
    //    Around the renewal of a token alone: whose key is calling.
    let (renewal, _) = proven().split_for_parts();
    let renewal =
        renewal.route_layer(from_fn_with_state(gateway.clone(), prove)).with_state(gateway.clone());
    let api = api.merge(renewal).merge(readiness.router());
    let app = Router::new()
        .nest(BASE_PATH, api)
        .merge(open_routes().layer(from_fn(etag::conditional_get)));
    let observer = Observer {
        metrics: request_metrics!("bff_backoffice"),
        clock: gateway.env.clock.clone(),
        entropy: gateway.env.entropy.clone(),
    };
    app.layer((
        // 1. Outermost, so that every answer has an id, a metric and a log line, and every error is
        //    a problem; a panic is one of them.
        (observing(observer), CatchPanicLayer::new()),
        // 2. Browsers keep to HTTPS once they have used it.
        SetResponseHeaderLayer::if_not_present(
            http::header::STRICT_TRANSPORT_SECURITY,
            HeaderValue::from_static("max-age=31536000"),
        ),
        // 3. Browsers ask first, without credentials: answered before authentication.
        cors(allowed_origins),
        // 4. Who is blocked learns nothing else: the deny rules come first of all refusals.
        InspectLayer(edge_rules::Deny(gateway.edge_rules.clone())),
        // 5. A body larger than any route takes is refused before it is read.
        (RequestBodyLimitLayer::new(LARGEST_BODY), MapRequestLayer::new(whole)),
        // 6. Who asks too often, or with a desktop that is too old, costs no cryptography.
        InspectLayer(edge_rules::Limit(gateway.edge_rules.clone())),
    ))
}

/// A body of any kind as the routes take it.
fn whole<B>(request: Request<B>) -> Request<Body>
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
    let own = [
        headers::DPOP,
        headers::DEVICE_ID,
        headers::REQUEST_ID,
        headers::IDEMPOTENCY_KEY,
        headers::MFA_ATTESTATION,
        headers::X_IDEMPOTENCY_KEY,
        headers::APP_VERSION,
        "last-event-id",
    ];
    let request =
        own.map(HeaderName::from_static).into_iter().chain([AUTHORIZATION, ACCEPT, CONTENT_TYPE]);
    let answer = [headers::REQUEST_ID, headers::DPOP_NONCE, headers::IDEMPOTENCY_REPLAYED]
        .map(HeaderName::from_static);
    let answer = answer.into_iter().chain([
        RETRY_AFTER,
        AGE,
        ETAG,
        cached_read::X_CACHE,
        cached_read::SERVER_TIMING,
        edge_rules::RATE_LIMIT,
        edge_rules::RATE_LIMIT_POLICY,
    ]);
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
        .allow_headers(request.collect::<Vec<_>>())
        .expose_headers(answer.chain([WWW_AUTHENTICATE]).collect::<Vec<_>>())
}
