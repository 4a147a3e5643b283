//! What hyper answers by itself over HTTP/1.1, a 400 or 431 without a body for bytes that are no
//! request, as the problem that every other refusal is.
//!
//! hyper has no hook for it: the bytes are recognized on their way to the socket.

use std::sync::Arc;

use axum::extract::ConnectInfo;
use contracts::problem::code;
use futures_util::FutureExt;
use http::{Method, Request};
use http_body_util::BodyExt;
use tower::Service;

use super::service::{Applications, HEADERS_TOO_LARGE};
use crate::connection::{Connection, ConnectionHandle};
use crate::problem::ApiError;

const MALFORMED: &str =
    "This is not a valid HTTP request. Correct its request line and headers, then send it again.";
/// hyper's is shorter.
const LONGEST_HEAD: usize = 256;

/// The whole answer to send in place of `sent`, if that is hyper's own.
pub(super) fn replacement(
    sent: &[u8],
    applications: &Applications,
    connection: &Arc<Connection>,
) -> Option<Vec<u8>> {
    if sent.len() > LONGEST_HEAD || !connection.is_reading_headers() {
        return None;
    }
    let head = std::str::from_utf8(sent).ok()?.strip_suffix("\r\n\r\n")?;
    let refusal = if head.starts_with("HTTP/1.1 431 ") {
        ApiError::new(&code::HEADERS_TOO_LARGE, HEADERS_TOO_LARGE)
    } else if head.starts_with("HTTP/1.1 400 ") {
        ApiError::new(&code::MALFORMED_REQUEST, MALFORMED)
    } else {
        return None;
    };
    let mut fields = head.lines().collect::<Vec<_>>();
    // Part of hyper's own answer, and of none that an application gave to an earlier request.
    let length = fields.iter().position(|field| *field == "content-length: 0")?;
    fields.iter().find(|field| **field == "connection: close")?;
    fields.remove(length);
    answer(refusal, fields.join("\r\n"), applications, connection)
}

/// As the application of refusals answers it, after hyper's status line and fields.
fn answer(
    refusal: ApiError,
    head: String,
    applications: &Applications,
    connection: &Arc<Connection>,
) -> Option<Vec<u8>> {
    // What was sent has no method or path, or none that can be trusted.
    let mut request = Request::new(axum::body::Body::empty());
    *request.method_mut() = Method::from_bytes(b"UNKNOWN").ok()?;
    request.extensions_mut().insert(ConnectInfo(connection.peer));
    request.extensions_mut().insert(ConnectionHandle(Arc::clone(connection)));
    request.extensions_mut().insert(refusal);
    // It waits for nothing: neither does the body.
    let response = applications.refusals().call(request).now_or_never()?.ok()?;
    let (parts, body) = response.into_parts();
    let body = body.collect().now_or_never()?.ok()?.to_bytes();
    let mut bytes = head.into_bytes();
    for (name, value) in &parts.headers {
        if *name != http::header::CONTENT_LENGTH {
            bytes.extend([b"\r\n", name.as_str().as_bytes(), b": ", value.as_bytes()].concat());
        }
    }
    bytes.extend(format!("\r\ncontent-length: {}\r\n\r\n", body.len()).bytes());
    bytes.extend(body);
    Some(bytes)
}
