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
    let mut whole = BodyBuffer::One(first);
    while let Some(more) = chunk(&mut body).await? {
        if whole.len() + more.len() > limit {
            return Err(ExchangeError::TooLarge);
        }
        whole = whole.joined(&more, body.size_hint().lower() as usize);
    }
    if whole.len() > limit {
        return Err(ExchangeError::TooLarge);
    }
    Ok(RawResponse { status, body: whole.into(), retry_after })
}

/// Reads only the form in seconds (RFC 9110, section 10.2.3).
fn retry_after(response: &Response<Incoming>) -> Option<Duration> {
    if response.status().is_success() {
        return None;
    }
    let seconds: u32 = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds.into()))
}

/// The part of a body received so far.
enum BodyBuffer {
    One(Bytes),
    Joined(BytesMut),
}

impl BodyBuffer {
    fn len(&self) -> usize {
        match self {
            Self::One(bytes) => bytes.len(),
            Self::Joined(bytes) => bytes.len(),
        }
    }

    /// Reserves room for the rest of the body.
    fn joined(self, more: &[u8], to_come: usize) -> Self {
        let mut bytes = match self {
            Self::One(first) => {
                let mut bytes = BytesMut::with_capacity(first.len() + more.len() + to_come);
                bytes.extend_from_slice(&first);
                bytes
            }
            Self::Joined(bytes) => bytes,
        };
        bytes.extend_from_slice(more);
        Self::Joined(bytes)
    }
}

impl From<BodyBuffer> for Bytes {
    fn from(whole: BodyBuffer) -> Self {
        match whole {
            BodyBuffer::One(bytes) => bytes,
            BodyBuffer::Joined(bytes) => bytes.freeze(),
        }
    }
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
