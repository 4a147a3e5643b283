//! The layer for every request: id, trace, metrics, one log line, and a problem for every error.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::response::{IntoResponse, Response};
use contracts::env::Env;
use contracts::headers;
use contracts::id::{RequestId, TenantId};
use contracts::problem::{self, Problem, code};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use opentelemetry::trace::TraceContextExt;
use opentelemetry_http::HeaderExtractor;
use tokio::time::Instant;
use tower::{Layer, Service};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::instrument::Instrumented;
use tracing::{Instrument, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::connection::{BODY_TIMEOUT_DETAIL, BodyTimeout, ConnectionHandle};
use crate::layer::InspectFuture;
use crate::problem::{ApiError, for_status};

mod meters;

use meters::{CallerLabels, Meters, ResponseLabels, RouteMeters};

/// Names of a server's request metrics.
#[derive(Debug, Clone, Copy)]
pub struct RequestMetrics {
    pub total: &'static str,
    pub duration: &'static str,
    pub inflight: &'static str,
    pub errors: &'static str,
}

/// The names with a server's prefix: `request_metrics!("inventory")`.
#[macro_export]
macro_rules! request_metrics {
    ($prefix:literal) => {
        $crate::request::RequestMetrics {
            total: concat!($prefix, "_request_total"),
            duration: concat!($prefix, "_request_duration_seconds"),
            inflight: concat!($prefix, "_request_inflight"),
            errors: concat!($prefix, "_errors_total"),
        }
    };
}

/// Id, trace and caller of a request, in the request's extensions.
#[derive(Debug, Clone)]
pub struct RequestContext {
    pub id: RequestId,
    /// 32 hexadecimal digits.
    pub trace_id: String,
    pub received: Instant,
    caller: Arc<OnceLock<CallerLabels>>,
    /// Absent when a test calls a router without a socket.
    connection: Option<ConnectionHandle>,
}

impl RequestContext {
    /// Records the caller for metrics, log line and problem, and marks the connection as authenticated.
    pub fn note_caller(&self, principal: &auth::Principal) {
        let role = principal.roles.iter().next().map_or("none", contracts::role::Role::name);
        let _ = self.caller.set(CallerLabels { tenant: principal.tenant, role });
        if let Some(connection) = &self.connection {
            connection.mark_authenticated();
        }
        Span::current().record("tenant", principal.tenant.as_str());
    }

    fn tenant(&self) -> Option<TenantId> {
        self.caller.get().map(|caller| caller.tenant)
    }

    /// The `traceparent` header for calls to upstreams (W3C Trace Context).
    pub fn traceparent(&self) -> String {
        let context = Span::current().context();
        let span = context.span().span_context().clone();
        if span.is_valid() {
            let flags = span.trace_flags().to_u8();
            return format!("00-{}-{}-{flags:02x}", span.trace_id(), span.span_id());
        }
        format!("00-{}-{}-00", self.trace_id, &self.trace_id[16..])
    }
}

/// Dependencies of the layer.
#[derive(Debug, Clone)]
pub struct Observer {
    pub metrics: RequestMetrics,
    pub env: Env,
}

/// Adds the layer and catches panics of handlers.
pub fn observed(router: Router, observer: Observer) -> Router {
    router.layer((observing(observer), CatchPanicLayer::new()))
}

/// The layer alone. Put a layer that catches panics directly inside it.
pub fn observing(observer: Observer) -> ObserveLayer {
    let meters = Meters::new(observer.metrics);
    ObserveLayer(Arc::new(Observing { observer, meters }))
}

#[derive(Debug, Clone)]
pub struct ObserveLayer(Arc<Observing>);

#[derive(Debug)]
struct Observing {
    observer: Observer,
    meters: Meters,
}

impl<S> Layer<S> for ObserveLayer {
    type Service = Observed<S>;

    fn layer(&self, inner: S) -> Observed<S> {
        Observed { inner, observing: Arc::clone(&self.0) }
    }
}

#[derive(Debug, Clone)]
pub struct Observed<S> {
    inner: S,
    observing: Arc<Observing>,
}

impl<S> Service<Request> for Observed<S>
where
    S: Service<Request, Error = Infallible, Response: IntoResponse>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = InspectFuture<Instrumented<S::Future>, ObservedRequest>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let seen = self.observing.observe(&mut request);
        let span = seen.span.clone();
        let future = span.in_scope(|| self.inner.call(request));
        InspectFuture::new(future.instrument(span), seen, ObservedRequest::finish)
    }
}

/// A request in flight.
#[derive(Debug)]
pub struct ObservedRequest {
    in_flight: InFlightGauge,
    span: Span,
    context: RequestContext,
    method: Method,
    uri: Uri,
    body_timeout: Option<BodyTimeout>,
}

/// Decrements the gauge on drop, also when the client disconnects and the handler is dropped.
#[derive(Debug)]
struct InFlightGauge(Arc<RouteMeters>);

impl InFlightGauge {
    fn on(route: Arc<RouteMeters>) -> Self {
        route.inflight.increment(1);
        Self(route)
    }
}

impl Drop for InFlightGauge {
    fn drop(&mut self) {
        self.0.inflight.decrement(1);
    }
}

impl Observing {
    fn observe(&self, request: &mut Request) -> ObservedRequest {
        let route = request.extensions().get::<MatchedPath>();
        let route = self.meters.of(route.map_or("unmatched", MatchedPath::as_str));
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let id = self.observer.request_id(request.headers());
        let span = tracing::info_span!(
            "request", method = method.as_str(), route = &*route.route, request_id = id.as_str(),
            tenant = tracing::field::Empty, otel.kind = "server",
            otel.name = %format_args!("{method} {}", route.route),
        );
        let mut context = self.observer.context(id, request.headers(), &span);
        context.connection = request.extensions().get().cloned();
        request.extensions_mut().insert(context.clone());
        let body_timeout = request.extensions().get().cloned();
        ObservedRequest {
            in_flight: InFlightGauge::on(route),
            span,
            context,
            method,
            uri,
            body_timeout,
        }
    }
}

impl ObservedRequest {
    fn finish(self, mut response: Response) -> Response {
        if self.is_body_late() && is_error(response.status()) {
            // The handler's error is a consequence of the incomplete body.
            response = ApiError::new(&code::REQUEST_TIMEOUT, BODY_TIMEOUT_DETAIL).into_response();
        }
        let response = finish(response, &self.context, self.uri.path());
        self.span.in_scope(|| self.record(&response));
        response
    }

    fn is_body_late(&self) -> bool {
        self.body_timeout.as_ref().is_some_and(BodyTimeout::has_passed)
    }

    fn record(&self, response: &Response) {
        let (route, status) = (&self.in_flight.0, response.status());
        let labels = ResponseLabels::new(&self.method, status, self.context.caller.get().copied());
        let took = self.context.received.elapsed();
        route.answered(labels, took);
        let code = response.extensions().get::<ProblemCode>().map(|code| code.0.clone());
        if let Some(code) = code.clone() {
            route.failed(&labels, code);
        }
        tracing::info!(
            status = status.as_u16(),
            took_ms = took.as_secs_f64() * 1e3,
            code,
            "request"
        );
    }
}

impl Observer {
    /// The request id sent by the caller, or a new one.
    fn request_id(&self, headers: &HeaderMap) -> RequestId {
        request_id(headers).unwrap_or_else(|| self.env.new_id())
    }

    fn context(&self, id: RequestId, headers: &HeaderMap, span: &Span) -> RequestContext {
        let parent = opentelemetry::global::get_text_map_propagator(|propagator| {
            propagator.extract(&HeaderExtractor(headers))
        });
        let remote = parent.span().span_context().clone();
        if remote.is_valid() {
            let _ = span.set_parent(parent);
        }
        let own = span.context().span().span_context().clone();
        let trace_id = [own, remote].iter().find(|span| span.is_valid()).map_or_else(
            || format!("{:032x}", self.env.entropy.u128().max(1)),
            |span| span.trace_id().to_string(),
        );
        let (received, caller) = (Instant::now(), Arc::default());
        RequestContext { id, trace_id, received, caller, connection: None }
    }
}

/// The code of the response's problem, for metrics and logs.
#[derive(Debug, Clone)]
struct ProblemCode(String);

fn request_id(headers: &HeaderMap) -> Option<RequestId> {
    let given = headers.get(headers::REQUEST_ID)?.to_str().ok()?;
    given.parse().or_else(|_| format!("req_{given}").parse()).ok()
}

/// Writes the problem, if the response is an error, and the request id.
fn finish(mut response: Response, context: &RequestContext, path: &str) -> Response {
    if let Some(problem) = problem_of(&mut response) {
        response = write(problem, response, context, path);
    }
    let id = HeaderValue::from_str(context.id.as_str()).expect("an id is ASCII");
    response.headers_mut().insert(headers::REQUEST_ID, id);
    response
}

/// The problem returned by a handler, or one for an error of the router or a layer.
fn problem_of(response: &mut Response) -> Option<Problem> {
    if let Some(ApiError(problem)) = response.extensions_mut().remove::<ApiError>() {
        return Some(*problem);
    }
    let status = response.status();
    let is_json = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().ends_with(b"json"));
    // JSON errors are complete: health reports, and responses forwarded from an upstream.
    (is_error(status) && !is_json).then(|| for_status(status))
}

fn is_error(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}

fn write(mut problem: Problem, bare: Response, context: &RequestContext, path: &str) -> Response {
    path.clone_into(&mut problem.instance);
    problem.request_id = Some(context.id);
    problem.trace_id = Some(context.trace_id.clone());
    problem.tenant_id = problem.tenant_id.or_else(|| context.tenant());
    let body = serde_json::to_vec(&problem).expect("a problem is plain JSON");
    let (mut parts, _) = bare.into_parts();
    parts.status = StatusCode::from_u16(problem.status).unwrap_or(parts.status);
    parts.headers.remove(http::header::CONTENT_LENGTH);
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static(problem::CONTENT_TYPE));
    parts.headers.insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(seconds) = problem.retry_after {
        parts.headers.insert(RETRY_AFTER, seconds.into());
    }
    parts.extensions.insert(ProblemCode(problem.code.into_owned()));
    (parts, body).into_response()
}
