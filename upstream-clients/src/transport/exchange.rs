//! One request and its response, whatever the HTTP version.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::RETRY_AFTER;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::TrySendError;

use super::connector::TransportError;

/// A request whose body is in memory.
pub type HttpRequest = Request<Full<Bytes>>;

/// A complete response.
#[derive(Debug)]
pub struct RawResponse {
    pub status: StatusCode,
    pub body: Bytes,
    /// `Retry-After` of an unsuccessful response.
    pub retry_after: Option<Duration>,
}

/// How an exchange failed, and what the upstream may have seen of it.
#[derive(Debug)]
pub enum ExchangeError {
    /// Nothing of the request was sent.
    NotSent(TransportError),
    /// The request may have arrived; no response came.
    NoResponse(TransportError),
    /// The response was incomplete or not HTTP.
    Truncated(TransportError),
    TooLarge,
}

impl From<TransportError> for ExchangeError {
    /// Errors before a request mean that it was not sent.
    fn from(error: TransportError) -> Self {
        Self::NotSent(error)
    }
}

pub(super) fn exchange_error(mut failure: TrySendError<HttpRequest>) -> ExchangeError {
    let is_unsent = failure.take_message().is_some();
    let error = failure.into_error();
    let has_begun = error.is_parse();
    let error = TransportError::Broken(error);
    match (is_unsent, has_begun) {
        (true, _) => ExchangeError::NotSent(error),
        (false, true) => ExchangeError::Truncated(error),
        (false, false) => ExchangeError::NoResponse(error),
    }
}

pub(super) async fn read(
    response: Response<Incoming>,
    limit: usize,
) -> Result<RawResponse, ExchangeError> {
    let (status, retry_after) = (response.status(), retry_after(&response));
    let mut body = response.into_body();
    if body.size_hint().lower() > limit as u64 {
        return Err(ExchangeError::TooLarge);
    }
    // Most bodies come in one chunk, which is not copied.
    let first = chunk(&mut body).await?.unwrap_or_default();
    let mut joined = BytesMut::new();
    while let Some(more) = chunk(&mut body).await? {
        if joined.is_empty() {
            joined.reserve(first.len() + more.len() + body.size_hint().lower() as usize);
            joined.extend_from_slice(&first);
        }
        if joined.len() + more.len() > limit {
            return Err(ExchangeError::TooLarge);
        }
        joined.extend_from_slice(&more);
    }
    let body = if joined.is_empty() { first } else { joined.freeze() };
    if body.len() > limit {
        return Err(ExchangeError::TooLarge);
    }
    Ok(RawResponse { status, body, retry_after })
}

/// Reads only the form in seconds (RFC 9110, section 10.2.3).
fn retry_after(response: &Response<Incoming>) -> Option<Duration> {
    if response.status().is_success() {
        return None;
    }
    let seconds: u32 = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds.into()))
}

async fn chunk(body: &mut Incoming) -> Result<Option<Bytes>, ExchangeError> {
    while !body.is_end_stream() {
        match body.frame().await {
            None => return Ok(None),
            Some(Err(error)) => {
                return Err(ExchangeError::Truncated(TransportError::Broken(error)));
            }
            // Trailers are ignored.
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
    Ok(None)
}
