//! HTTP/1.1: a connection is one call's at a time, and driven by it.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::RETRY_AFTER;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::{TrySendError, http1};
use hyper_util::rt::TokioIo;

use super::Outgoing;
use super::connector::{Stream, TransportError};
use super::relay::Relay;

/// An answer in full.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
    /// What a refusal says about when to come again.
    pub(crate) retry_after: Option<Duration>,
}

/// How an exchange failed: what the other side may have seen of it.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nothing of the request left this machine.
    Unsent(TransportError),
    /// It may have arrived; no answer came.
    Unanswered(TransportError),
    /// An answer began and was not whole, or was not HTTP.
    Cut(TransportError),
    TooLarge,
}

impl From<TransportError> for Failure {
    /// Of what comes before a request: it was not sent.
    fn from(error: TransportError) -> Self {
        Self::Unsent(error)
    }
}

#[derive(Debug)]
pub(super) struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: Driver,
    relay: Arc<Relay>,
}

/// The connection's own reading and writing, until it has ended.
#[derive(Debug)]
struct Driver(Option<http1::Connection<TokioIo<Stream>, Full<Bytes>>>);

impl Driver {
    /// A connection that has ended is dropped, which ends all that waits for it.
    fn poll(&mut self, cx: &mut Context<'_>) {
        if let Some(running) = &mut self.0
            && Pin::new(running).poll(cx).is_ready()
        {
            self.0 = None;
        }
    }

    /// Does `work` and what the connection has to do for it.
    async fn drive<T>(&mut self, relay: &Arc<Relay>, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|cx| {
            relay.poll(cx, |cx| {
                self.poll(cx);
                work.as_mut().poll(cx)
            })
        })
        .await
    }
}

impl Connection {
    pub(super) async fn open(stream: Stream) -> Result<Box<Self>, TransportError> {
        let opened = http1::handshake(TokioIo::new(stream)).await;
        let (sender, driver) = opened.map_err(TransportError::Broken)?;
        Ok(Box::new(Self { sender, driver: Driver(Some(driver)), relay: Arc::default() }))
    }

    /// Whether a request can be sent now. Looks at the socket, and does not wait.
    pub(super) async fn is_free(&mut self) -> bool {
        let Self { sender, driver, relay } = self;
        let mut look = |cx: &mut Context<'_>| {
            driver.poll(cx);
            Poll::Ready(driver.0.is_some() && sender.is_ready())
        };
        poll_fn(|cx| relay.poll(cx, &mut look)).await
    }

    pub(super) async fn exchange(
        &mut self,
        request: Outgoing,
        limit: usize,
    ) -> Result<Answer, Failure> {
        let Self { sender, driver, relay } = self;
        // Inside, because handing it over wakes the connection.
        let sending = async { sender.try_send_request(request).await };
        let answer = driver.drive(relay, sending).await.map_err(failure)?;
        driver.drive(relay, read(answer, limit)).await
    }
}

pub(super) fn failure(mut failure: TrySendError<Outgoing>) -> Failure {
    let is_unsent = failure.take_message().is_some();
    let error = failure.into_error();
    let has_begun = error.is_parse();
    let error = TransportError::Broken(error);
    match (is_unsent, has_begun) {
        (true, _) => Failure::Unsent(error),
        (false, true) => Failure::Cut(error),
        (false, false) => Failure::Unanswered(error),
    }
}

pub(super) async fn read(answer: Response<Incoming>, limit: usize) -> Result<Answer, Failure> {
    let (status, retry_after) = (answer.status(), retry_after(&answer));
    let mut body = answer.into_body();
    if body.size_hint().lower() > limit as u64 {
        return Err(Failure::TooLarge);
    }
    // Most answers come in one piece, which is taken as it is.
    let first = chunk(&mut body).await?.unwrap_or_default();
    let mut whole = Whole::One(first);
    while let Some(more) = chunk(&mut body).await? {
        if whole.len() + more.len() > limit {
            return Err(Failure::TooLarge);
        }
        whole = whole.joined(&more, body.size_hint().lower() as usize);
    }
    if whole.len() > limit {
        return Err(Failure::TooLarge);
    }
    Ok(Answer { status, body: whole.into(), retry_after })
}

/// Only the form that counts seconds (RFC 9110, section 10.2.3).
fn retry_after(answer: &Response<Incoming>) -> Option<Duration> {
    if answer.status().is_success() {
        return None;
    }
    let seconds: u32 = answer.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds.into()))
}

/// What has come of a body.
enum Whole {
    One(Bytes),
    Joined(BytesMut),
}

impl Whole {
    fn len(&self) -> usize {
        match self {
            Self::One(bytes) => bytes.len(),
            Self::Joined(bytes) => bytes.len(),
        }
    }

    /// With room for what is still to come.
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

impl From<Whole> for Bytes {
    fn from(whole: Whole) -> Self {
        match whole {
            Whole::One(bytes) => bytes,
            Whole::Joined(bytes) => bytes.freeze(),
        }
    }
}

async fn chunk(body: &mut Incoming) -> Result<Option<Bytes>, Failure> {
    while !body.is_end_stream() {
        match body.frame().await {
            None => return Ok(None),
            Some(Err(error)) => return Err(Failure::Cut(TransportError::Broken(error))),
            // Trailers say nothing to us.
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
    Ok(None)
}
