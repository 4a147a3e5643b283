//! Forwards requests and responses unchanged between the fault layer and a real service, so that
//! drills can inject faults into it.
//!
//! Not here: the faults, which the layer in front applies.

use std::future::pending;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use axum::{Extension, Router};
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName};
use service_kit::http_client;
use url::Url;

use service_kit::serve::{CloseKind, ConnectionHandle};

const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;
/// Headers of one connection (RFC 9110 section 7.6.1), or set by the client itself.
const CONNECTION_HEADERS: [HeaderName; 4] = [CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING];

#[derive(Debug, Clone)]
struct Service {
    base: Url,
    http: reqwest::Client,
}

pub(crate) fn router(base: &Url) -> Router {
    let service = Service { base: base.clone(), http: http_client::short_requests() };
    Router::new().fallback(forward).with_state(service)
}

/// Closes the connection without a response when the service is unavailable.
async fn forward(
    State(service): State<Service>,
    Extension(connection): Extension<ConnectionHandle>,
    request: Request,
) -> Response {
    match service.send(request).await {
        Ok(response) => response,
        Err(error) => {
            tracing::info!(service = %service.base, %error, "The service did not respond.");
            connection.close(CloseKind::Close);
            pending().await
        }
    }
}

impl Service {
    async fn send(&self, request: Request) -> Result<Response, axum::BoxError> {
        let (parts, body) = request.into_parts();
        let mut url = self.base.clone();
        url.set_path(parts.uri.path());
        url.set_query(parts.uri.query());
        let request = self.http.request(parts.method, url).headers(end_to_end(parts.headers));
        let response = request.body(to_bytes(body, MAX_BODY_BYTES).await?).send().await?;
        let (status, headers) = (response.status(), end_to_end(response.headers().clone()));
        let mut response = Response::new(Body::from(response.bytes().await?));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }
}

fn end_to_end(mut headers: HeaderMap) -> HeaderMap {
    for name in CONNECTION_HEADERS {
        headers.remove(name);
    }
    headers
}
