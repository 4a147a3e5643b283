//! Ends an HTTP/2 answer that the client does not take.
//!
//! A client takes an answer's data by opening its flow-control window, and may keep it shut while it
//! reads everything else on the socket. Then only the stream of that answer ends.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use hyper::rt::Executor;
use hyper_util::rt::TokioExecutor;
use parking_lot::Mutex;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use super::Connection;
use super::metrics::Reason;

tokio::task_local! {
    /// Of the HTTP/2 stream whose task is being polled.
    static CURRENT: Arc<Delivery>;
}

/// How much of one answer waits for the client.
#[derive(Debug)]
pub(crate) struct Delivery {
    connection: Arc<Connection>,
    waiting: Mutex<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    bytes: usize,
    /// When the client last took some of them, or they began to wait.
    since: Instant,
    /// Of the body, which waits with its next frame.
    body: Option<Waker>,
}

impl Delivery {
    fn new(connection: Arc<Connection>) -> Arc<Self> {
        let waiting = Mutex::new(Waiting { bytes: 0, since: Instant::now(), body: None });
        Arc::new(Self { connection, waiting })
    }

    /// Of the answer that is being polled; none over HTTP/1.1, where the socket tells all.
    pub(crate) fn current() -> Option<Arc<Self>> {
        CURRENT.try_with(Arc::clone).ok()
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.lock().bytes > 0
    }

    /// Resolves when the client took all that was sent.
    pub(crate) fn poll_taken(&self, cx: &Context<'_>) -> Poll<()> {
        let mut waiting = self.waiting.lock();
        if waiting.bytes == 0 {
            return Poll::Ready(());
        }
        waiting.body = Some(cx.waker().clone());
        Poll::Pending
    }

    fn waiting_since(&self) -> Option<Instant> {
        let waiting = self.waiting.lock();
        (waiting.bytes > 0).then_some(waiting.since)
    }

    fn began(&self, bytes: usize) {
        let mut waiting = self.waiting.lock();
        (waiting.bytes, waiting.since) = (waiting.bytes + bytes, Instant::now());
    }

    fn took(&self, bytes: usize) {
        let mut waiting = self.waiting.lock();
        (waiting.bytes, waiting.since) = (waiting.bytes.saturating_sub(bytes), Instant::now());
        if waiting.bytes == 0
            && let Some(body) = waiting.body.take()
        {
            self.connection.stream_continues();
            body.wake();
        }
    }
}

/// Data of an answer. Notes what of it the connection sends.
pub(crate) struct TrackedData {
    bytes: Bytes,
    delivery: Option<Arc<Delivery>>,
}

impl TrackedData {
    pub(crate) fn new(bytes: Bytes, delivery: Option<Arc<Delivery>>) -> Self {
        if let Some(delivery) = &delivery {
            delivery.began(bytes.len());
        }
        Self { bytes, delivery }
    }
}

impl Buf for TrackedData {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        if let Some(delivery) = &self.delivery {
            delivery.took(count);
        }
    }
}

/// Runs the streams of one HTTP/2 connection, each as long as the client takes its answer.
#[derive(Debug, Clone)]
pub(crate) struct StreamExecutor(pub(crate) Arc<Connection>);

impl<F> Executor<F> for StreamExecutor
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, inner: F) {
        let delivery = Delivery::new(Arc::clone(&self.0));
        TokioExecutor::new().execute(Stream { inner, delivery, has_yielded: false, timer: None });
    }
}

pin_project! {
    /// hyper's task of one stream. Dropping it resets the stream.
    struct Stream<F> {
        #[pin]
        inner: F,
        delivery: Arc<Delivery>,
        // Whether the connection could send the data that waits.
        has_yielded: bool,
        // Made when the answer has to be waited for.
        timer: Option<Pin<Box<Sleep>>>,
    }
}

impl<F: Future<Output = ()>> Future for Stream<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let inner = this.inner;
        if CURRENT.sync_scope(Arc::clone(this.delivery), || inner.poll(cx)).is_ready() {
            return Poll::Ready(());
        }
        let connection = &this.delivery.connection;
        // What the client takes does not wake this task: the timer fires and is moved.
        while let Some(since) = this.delivery.waiting_since() {
            if !std::mem::replace(this.has_yielded, true) {
                // Most answers are sent as soon as the connection is polled, and need no timer.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let at = since + Duration::from_millis(connection.limits.write_stall_ms);
            let timer = this.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
            if timer.deadline() != at {
                timer.as_mut().reset(at);
            }
            ready!(timer.as_mut().poll(cx));
            if this.delivery.waiting_since() == Some(since) {
                connection.refused(Reason::WriteTimeout);
                tracing::debug!(peer = %connection.peer, "An answer was not taken.");
                return Poll::Ready(());
            }
        }
        *this.has_yielded = false;
        Poll::Pending
    }
}
