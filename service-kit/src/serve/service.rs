//! The hyper service of a connection: checks requests, adds extensions, and calls the application.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::{IntoResponse, Response};
use axum::routing::future::RouteFuture;
use axum::{Extension, Json, Router};
use contracts::problem::{self, Problem, code};
use http::header::{CONNECTION, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderValue, Request, StatusCode, Version};
use hyper::body::{Body as _, Incoming};
use pin_project_lite::pin_project;
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::{ClientAddress, host};
use crate::connection::{
    ActiveRequest, BODY_TIMEOUT_DETAIL, BodyTimeout, Connection, ConnectionHandle, TimedBody,
    TrackedBody,
};
use crate::problem::ApiError;
use crate::request::{Observer, observed};

/// Bytes of the request line and all headers of a request together.
pub(super) const MAX_HEADER_BYTES: usize = 32 * 1024;
/// The detail of a 431.
pub(super) const HEADERS_TOO_LARGE: &str = "The request line and headers are too large together, \
     or the headers too many. Send at most 32 KiB and 100 headers.";

/// The routers shared by the connections of a listener.
#[derive(Clone)]
pub(super) struct Applications {
    app: Router,
    /// Responds to requests that the listener refuses, with the id, metric and log line of any request.
    refusals: Router,
    client_address: Option<ClientAddress>,
}

impl Applications {
    pub(super) fn new(
        app: Router,
        observer: Observer,
        client_address: Option<ClientAddress>,
    ) -> Self {
        let refuse = async |Extension(refusal): Extension<ApiError>| refusal;
        let refusals = observed(Router::new().fallback(refuse), observer);
        Self { app, refusals, client_address }
    }

    /// Answers the [`ApiError`] in a request's extensions.
    pub(super) fn refusals(&self) -> Router {
        self.refusals.clone()
    }
}

/// Serves one connection.
pub(super) struct ConnectionService {
    applications: Applications,
    connection: Arc<Connection>,
    draining: CancellationToken,
}

impl ConnectionService {
    pub(super) fn new(
        applications: Applications,
        connection: Arc<Connection>,
        draining: CancellationToken,
    ) -> Self {
        Self { applications, connection, draining }
    }

    fn check(&self, parts: &Parts) -> Result<(), ApiError> {
        if size_of_headers(parts) > MAX_HEADER_BYTES {
            return Err(ApiError::new(&code::HEADERS_TOO_LARGE, HEADERS_TOO_LARGE));
        }
        host::check(parts)?;
        let Some(client_address) = &self.applications.client_address else { return Ok(()) };
        let address = client_address(self.connection.peer.ip(), &parts.headers);
        self.connection.claim(address).map_err(|reason| {
            self.connection.refused(reason);
            ApiError::new(
                &code::RATE_LIMITED,
                "Your address has too many connections without a sign-in. Close some, then retry.",
            )
        })
    }

    fn body(&self, incoming: Incoming, parts: &mut Parts) -> Body {
        if incoming.is_end_stream() {
            return Body::empty();
        }
        let body = TimedBody::new(incoming, Arc::clone(&self.connection));
        parts.extensions.insert(body.timeout());
        Body::new(body)
    }
}

impl hyper::service::Service<Request<Incoming>> for ConnectionService {
    type Response = Response<TrackedBody>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn call(&self, request: Request<Incoming>) -> ResponseFuture {
        let active = Some(self.connection.request());
        let (mut parts, incoming) = request.into_parts();
        let refusal = self.check(&parts).err();
        let body = self.body(incoming, &mut parts);
        let timeout = parts.extensions.get::<BodyTimeout>().cloned();
        let is_http2 = parts.version >= Version::HTTP_2;
        parts.extensions.insert(ConnectInfo(self.connection.peer));
        parts.extensions.insert(ConnectionHandle(Arc::clone(&self.connection)));
        let closes = refusal.is_some();
        let mut app = if let Some(refusal) = refusal {
            parts.extensions.insert(refusal);
            self.applications.refusals()
        } else {
            self.applications.app.clone()
        };
        let inner = app.call(Request::from_parts(parts, body));
        let draining = self.draining.clone();
        ResponseFuture { inner, active, timeout, draining, closes, is_http2 }
    }
}

pin_project! {
    pub(super) struct ResponseFuture {
        #[pin]
        inner: RouteFuture<Infallible>,
        active: Option<ActiveRequest>,
        timeout: Option<BodyTimeout>,
        draining: CancellationToken,
        closes: bool,
        is_http2: bool,
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response<TrackedBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(cx))?;
        let is_late = this.timeout.as_ref().is_some_and(BodyTimeout::has_passed);
        if is_late {
            response = too_slow(response);
        }
        let closes = *this.closes || is_late || this.draining.is_cancelled();
        if closes && !*this.is_http2 {
            // HTTP/2 has GOAWAY for this.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let active = this.active.take().expect("a future that is ready is not polled again");
        Poll::Ready(Ok(response.map(|body| TrackedBody::new(body, active))))
    }
}

/// Bytes of the request line and the headers; over HTTP/2 as RFC 9113 section 6.5.2 counts them.
fn size_of_headers(parts: &Parts) -> usize {
    let overhead = if parts.version >= Version::HTTP_2 { 32 } else { ": \r\n".len() };
    let fields = parts.headers.iter();
    let fields = fields.map(|(name, value)| name.as_str().len() + value.len() + overhead);
    let target = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
    let authority = parts.uri.authority().map_or(0, |authority| authority.as_str().len());
    parts.method.as_str().len() + target + authority + overhead + fields.sum::<usize>()
}

/// Turns an error into a 408, for applications without the request layer, which does the same.
fn too_slow(response: Response) -> Response {
    let is_error = response.status().is_client_error() || response.status().is_server_error();
    if !is_error || response.status() == StatusCode::REQUEST_TIMEOUT {
        return response;
    }
    let problem = Problem::new(&code::REQUEST_TIMEOUT, BODY_TIMEOUT_DETAIL);
    // Headers of the tuple replace those of `Json`.
    (StatusCode::REQUEST_TIMEOUT, [(CONTENT_TYPE, problem::CONTENT_TYPE)], Json(problem))
        .into_response()
}
