//! A real service behind the fault layer: each request goes on to it as it came, each answer comes
//! back as it is. For drills, which make services fail in ways they do not fail by themselves.
//!
//! Not here: the faults. The layer in front applies them as it does to what is played.

use std::future::pending;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use axum::{Extension, Router};
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName};
use service_kit::http_client;
use url::Url;

use service_kit::serve::{ConnectionHandle, Ending};

const LARGEST: usize = 16 * 1024 * 1024;
/// They belong to one connection (RFC 9110 section 7.6.1), or the client sets them by itself.
const OF_A_CONNECTION: [HeaderName; 4] = [CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING];

#[derive(Debug, Clone)]
struct Service {
    base: Url,
    http: reqwest::Client,
}

pub(crate) fn router(base: &Url) -> Router {
    let service = Service { base: base.clone(), http: http_client::short_requests() };
    Router::new().fallback(forward).with_state(service)
}

/// A service that is away is away here, too: the connection ends without an answer.
async fn forward(
    State(service): State<Service>,
    Extension(connection): Extension<ConnectionHandle>,
    request: Request,
) -> Response {
    match service.ask(request).await {
        Ok(answer) => answer,
        Err(error) => {
            tracing::info!(service = %service.base, %error, "The service did not answer.");
            connection.end(Ending::Close);
            pending().await
        }
    }
}

impl Service {
    async fn ask(&self, request: Request) -> Result<Response, axum::BoxError> {
        let (parts, body) = request.into_parts();
        let mut url = self.base.clone();
        url.set_path(parts.uri.path());
        url.set_query(parts.uri.query());
        let asking = self.http.request(parts.method, url).headers(carried(parts.headers));
        let answer = asking.body(to_bytes(body, LARGEST).await?).send().await?;
        let (status, headers) = (answer.status(), carried(answer.headers().clone()));
        let mut response = Response::new(Body::from(answer.bytes().await?));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }
}

fn carried(mut headers: HeaderMap) -> HeaderMap {
    for name in OF_A_CONNECTION {
        headers.remove(name);
    }
    headers
}
