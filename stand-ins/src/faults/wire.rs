//! Answers that go wrong on the wire: cut short, endless, slow, or of another shape.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use serde_json::{Map, Value};

use service_kit::serve::{ConnectionHandle, Ending};

const LARGEST: usize = 16 * 1024 * 1024;
const HUGE: usize = 100 * 1024 * 1024;
const PIECE: usize = 64 * 1024;
const DRIP_EVERY: Duration = Duration::from_secs(1);
/// Long enough for what was written to leave; the rest never comes.
const FLUSH: Duration = Duration::from_millis(20);

/// A body to its end; empty when the peer went away.
pub(super) async fn whole(body: Body) -> Bytes {
    to_bytes(body, LARGEST).await.unwrap_or_default()
}

/// Promises the whole body, sends half of it, and closes the connection.
pub(super) async fn half(response: Response, connection: ConnectionHandle) -> Response {
    let (mut parts, body) = response.into_parts();
    let body = whole(body).await;
    parts.headers.insert(CONTENT_LENGTH, body.len().into());
    let first = body.slice(..body.len() / 2);
    let then = stream::once(async move {
        tokio::time::sleep(FLUSH).await;
        connection.end(Ending::Close);
        std::future::pending().await
    });
    let body = stream::once(async { Ok::<_, Infallible>(first) }).chain(then);
    Response::from_parts(parts, Body::from_stream(body))
}

/// 100 MB of valid JSON: one long text.
pub(super) fn huge() -> Response {
    let quote = || stream::once(async { Ok::<_, Infallible>(Bytes::from_static(b"\"")) });
    let piece = Bytes::from(vec![b'x'; PIECE]);
    let text = stream::iter(std::iter::repeat_n(piece, HUGE / PIECE)).map(Ok);
    let body = Body::from_stream(quote().chain(text).chain(quote()));
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

/// The same answer, a byte a second.
pub(super) async fn drip(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let body = whole(body).await;
    parts.headers.insert(CONTENT_LENGTH, body.len().into());
    let drops = stream::iter(0..body.len()).then(move |at| {
        let drop = body.slice(at..=at);
        async move {
            tokio::time::sleep(DRIP_EVERY).await;
            Ok::<_, Infallible>(drop)
        }
    });
    Response::from_parts(parts, Body::from_stream(drops))
}

/// The same answer with one member of another name or type. Errors stay as they are.
pub(super) async fn drift(response: Response) -> Response {
    if !response.status().is_success() {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let body = whole(body).await;
    let Ok(Value::Object(mut members)) = serde_json::from_slice(&body) else {
        return Response::from_parts(parts, Body::from(body));
    };
    bend(&mut members);
    let body = Value::Object(members).to_string();
    parts.headers.insert(CONTENT_LENGTH, body.len().into());
    Response::from_parts(parts, Body::from(body))
}

/// Renames the first list or object, as a new version would; where there is none, the first text
/// becomes a number.
fn bend(members: &mut Map<String, Value>) {
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
