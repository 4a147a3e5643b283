//! Broken responses: truncated, huge, slow, or with a body that breaks the contract.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use serde_json::{Map, Value};

use service_kit::serve::{CloseKind, ConnectionHandle};

const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;
const HUGE_BODY_BYTES: usize = 100 * 1024 * 1024;
const CHUNK_BYTES: usize = 64 * 1024;
const DRIP_INTERVAL: Duration = Duration::from_secs(1);
/// Time for the first half to be sent before the connection closes.
const FLUSH_DELAY: Duration = Duration::from_millis(20);

/// Reads a whole body; empty when the peer disconnects.
pub(super) async fn read_body(body: Body) -> Bytes {
    to_bytes(body, MAX_BODY_BYTES).await.unwrap_or_default()
}

/// Announces the whole body, sends half of it, and closes the connection.
pub(super) async fn half_body(response: Response, connection: ConnectionHandle) -> Response {
    let (mut parts, body) = response.into_parts();
    let body = read_body(body).await;
    parts.headers.insert(CONTENT_LENGTH, body.len().into());
    let first = body.slice(..body.len() / 2);
    let then = stream::once(async move {
        tokio::time::sleep(FLUSH_DELAY).await;
        connection.close(CloseKind::Close);
        std::future::pending().await
    });
    let body = stream::once(async { Ok::<_, Infallible>(first) }).chain(then);
    Response::from_parts(parts, Body::from_stream(body))
}

/// A body of 100 MB: one JSON string.
pub(super) fn huge_body() -> Response {
    let quote = || stream::once(async { Ok::<_, Infallible>(Bytes::from_static(b"\"")) });
    let chunk = Bytes::from(vec![b'x'; CHUNK_BYTES]);
    let text = stream::iter(std::iter::repeat_n(chunk, HUGE_BODY_BYTES / CHUNK_BYTES)).map(Ok);
    let body = Body::from_stream(quote().chain(text).chain(quote()));
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

/// Sends the body one byte a second.
pub(super) async fn drip(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let body = read_body(body).await;
    parts.headers.insert(CONTENT_LENGTH, body.len().into());
    let drops = stream::iter(0..body.len()).then(move |at| {
        let drop = body.slice(at..=at);
        async move {
            tokio::time::sleep(DRIP_INTERVAL).await;
            Ok::<_, Infallible>(drop)
        }
    });
    Response::from_parts(parts, Body::from_stream(drops))
}

/// Renames or retypes one member of the body. Error responses are unchanged.
pub(super) async fn drift(response: Response) -> Response {
    if !response.status().is_success() {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let body = read_body(body).await;
    let Ok(Value::Object(mut members)) = serde_json::from_slice(&body) else {
        return Response::from_parts(parts, Body::from(body));
    };
    break_contract(&mut members);
    let body = Value::Object(members).to_string();
    parts.headers.insert(CONTENT_LENGTH, body.len().into());
    Response::from_parts(parts, Body::from(body))
}

/// Renames the first array or object member; without one, turns the first string into a number.
fn break_contract(members: &mut Map<String, Value>) {
    let find = |fits: fn(&Value) -> bool, members: &Map<String, Value>| {
        members.iter().find(|(_, value)| fits(value)).map(|(name, _)| name.clone())
    };
    if let Some(name) = find(|value| value.is_array() || value.is_object(), members) {
        if let Some(value) = members.remove(&name) {
            members.insert(format!("{name}V2"), value);
        }
    } else if let Some(name) = find(Value::is_string, members) {
        members.insert(name, Value::from(0));
    }
}
