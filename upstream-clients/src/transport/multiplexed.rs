//! HTTP/2: many calls at once over a connection that a task of its own drives. Not here: how a
//! connection is made, and when HTTP/2 is spoken.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{Uri, Version};
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::Outgoing;
use super::connection::{Answer, Failure, failure, read};
use super::connector::{Stream, TransportError};

/// Calls at once over one connection: what RFC 9113 (6.5.2) tells servers to allow at least.
/// With more, another connection is made.
const STREAMS: usize = 100;
/// Bytes of one answer that may be under way unread, and of all answers of a connection.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
/// A connection is asked for a sign of life this often, and given up after this long without one.
const PING_EVERY: Duration = Duration::from_secs(5);
const PONG_WITHIN: Duration = Duration::from_secs(2);
/// A call that was given up after this long without a word on its connection speaks against it.
const SUSPICIOUS: Duration = Duration::from_millis(200);

/// The open connections to one address.
#[derive(Debug, Default)]
pub(super) struct Shared(Mutex<Vec<Arc<Multiplexed>>>);

impl Shared {
    /// A place on a connection that takes calls. Those that do not any more are forgotten; what
    /// is under way on them ends by itself.
    pub(super) fn take(&self) -> Option<Place> {
        self.with(|open| {
            open.retain(|connection| !connection.is_over());
            open.iter().find_map(Place::on)
        })
    }

    pub(super) fn keep(&self, connection: Multiplexed) -> Option<Place> {
        let connection = Arc::new(connection);
        let place = Place::on(&connection);
        self.with(|open| open.push(connection));
        place
    }

    fn with<T>(&self, change: impl FnOnce(&mut Vec<Arc<Multiplexed>>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[derive(Debug)]
pub(super) struct Multiplexed {
    sender: http2::SendRequest<Full<Bytes>>,
    streams: AtomicUsize,
    /// When an answer last came.
    heard: Mutex<Instant>,
    is_retired: AtomicBool,
}

impl Multiplexed {
    pub(super) async fn open(stream: Stream, tasks: &TaskTracker) -> Result<Self, TransportError> {
        let opened = http2::Builder::new(Tasks(tasks.clone()))
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PONG_WITHIN)
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(stream))
            .await;
        let (sender, driver) = opened.map_err(TransportError::Broken)?;
        // Ends when the connection does, and when nobody holds its sender any more.
        tasks.spawn(async move {
            if let Err(error) = driver.await {
                tracing::debug!(%error, "A shared connection to an upstream ended.");
            }
        });
        let (streams, is_retired) = (AtomicUsize::new(0), AtomicBool::new(false));
        Ok(Self { sender, streams, heard: Mutex::new(Instant::now()), is_retired })
    }

    fn is_over(&self) -> bool {
        self.is_retired.load(Ordering::Relaxed) || self.sender.is_closed()
    }

    /// Takes no more calls; what is under way ends by itself.
    fn retire(&self) {
        self.is_retired.store(true, Ordering::Relaxed);
    }

    fn heard(&self) -> std::sync::MutexGuard<'_, Instant> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Room for one call on a connection, until dropped.
#[derive(Debug)]
pub(super) struct Place {
    connection: Arc<Multiplexed>,
    /// Since when an answer is waited for.
    waiting: Option<Instant>,
}

impl Place {
    fn on(connection: &Arc<Multiplexed>) -> Option<Self> {
        let has_room = connection.streams.fetch_add(1, Ordering::Relaxed) < STREAMS;
        let place = Self { connection: Arc::clone(connection), waiting: None };
        has_room.then_some(place)
    }

    /// The call's own stream is reset when this is dropped; the connection goes on.
    pub(super) async fn exchange(
        mut self,
        request: Outgoing,
        limit: usize,
    ) -> Result<Answer, Failure> {
        self.waiting = Some(Instant::now());
        let mut sender = self.connection.sender.clone();
        let answer = sender.try_send_request(request).await;
        self.waiting = None;
        *self.connection.heard() = Instant::now();
        // The next try must not come to the same connection, which may be about to close.
        let answer = answer.map_err(|error| {
            self.connection.retire();
            failure(error)
        })?;
        read(answer, limit).await
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connection.streams.fetch_sub(1, Ordering::Relaxed);
        if let Some(since) = self.waiting
            && since.elapsed() >= SUSPICIOUS
            && *self.connection.heard() < since
        {
            self.connection.retire();
        }
    }
}

/// In the form of HTTP/2: the authority stands in the target, not in a header.
pub(super) fn for_http2(mut request: Outgoing, base: &Uri) -> Outgoing {
    request.headers_mut().remove(HOST);
    *request.version_mut() = Version::HTTP_2;
    let mut parts = base.clone().into_parts();
    parts.path_and_query = request.uri().path_and_query().cloned();
    *request.uri_mut() = Uri::from_parts(parts).expect("a base and a path are a target");
    request
}

/// Runs what a connection needs beside its calls.
#[derive(Debug, Clone)]
struct Tasks(TaskTracker);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}
