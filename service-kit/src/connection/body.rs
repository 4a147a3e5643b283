//! Request bodies with a timeout, and response bodies that keep their request active.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use super::delivery::{Delivery, TrackedData};
use super::metrics::Reason;
use super::{ActiveRequest, Connection};

/// The detail of a 408.
pub(crate) const BODY_TIMEOUT_DETAIL: &str =
    "The request body took too long to arrive. Check the connection, then send the request again.";

/// Whether the body of a request timed out, in the extensions of a request with a body.
#[derive(Debug, Clone, Default)]
pub struct BodyTimeout(Arc<AtomicBool>);

impl BodyTimeout {
    pub fn has_passed(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the request body took too long to arrive")]
struct TooSlow;

/// A request body that fails when it makes no progress, or takes too long as a whole.
pub(crate) struct TimedBody {
    incoming: Incoming,
    connection: Arc<Connection>,
    timeout: BodyTimeout,
    /// When the whole body must have arrived.
    total: Instant,
    /// When the next frame must have arrived; `None` while the body is not polled.
    stall: Option<Instant>,
    /// Created when a frame has to be waited for.
    timer: Option<Pin<Box<Sleep>>>,
}

impl TimedBody {
    pub(crate) fn new(incoming: Incoming, connection: Arc<Connection>) -> Self {
        let total = Instant::now() + Duration::from_millis(connection.limits.body_total_ms);
        let timeout = BodyTimeout::default();
        Self { incoming, connection, timeout, total, stall: None, timer: None }
    }

    pub(crate) fn timeout(&self) -> BodyTimeout {
        self.timeout.clone()
    }

    /// Resolves when the body took too long.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = Duration::from_millis(self.connection.limits.body_stall_ms);
        let stall = *self.stall.get_or_insert_with(|| Instant::now() + limit);
        let at = stall.min(self.total);
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if timer.deadline() != at {
            timer.as_mut().reset(at);
        }
        timer.as_mut().poll(cx)
    }
}

impl Body for TimedBody {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.timeout.has_passed() {
            return Poll::Ready(None);
        }
        if let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) {
            self.stall = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        ready!(self.poll_late(cx));
        self.timeout.0.store(true, Ordering::Relaxed);
        self.connection.refused(Reason::BodyTimeout);
        Poll::Ready(Some(Err(TooSlow.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

pin_project! {
    /// A response body; its request is active until it is dropped. Over HTTP/2 each frame, also the end,
    /// waits until the client accepted the one before: a stream that has ended cannot be reset.
    pub(crate) struct TrackedBody {
        #[pin]
        inner: axum::body::Body,
        delivery: Option<Arc<Delivery>>,
        active: ActiveRequest,
    }
}

impl TrackedBody {
    pub(crate) fn new(inner: axum::body::Body, active: ActiveRequest) -> Self {
        Self { inner, delivery: Delivery::current(), active }
    }
}

impl Body for TrackedBody {
    type Data = TrackedData;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<TrackedData>, axum::Error>>> {
        let this = self.project();
        if let Some(delivery) = this.delivery {
            ready!(delivery.poll_taken(cx));
        }
        let frame = ready!(this.inner.poll_frame(cx));
        let tracked = |bytes| TrackedData::new(bytes, this.delivery.clone());
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(tracked))))
    }

    fn is_end_stream(&self) -> bool {
        let is_waiting = self.delivery.as_ref().is_some_and(|delivery| delivery.is_waiting());
        self.inner.is_end_stream() && !is_waiting
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
