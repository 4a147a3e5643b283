//! HTTP/2 connections, each shared by many calls and polled by a task of its own.
//!
//! Not here: how a connection is opened and when HTTP/2 is used.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{Uri, Version};
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::connector::{Stream, TransportError};
use super::exchange::{ExchangeError, HttpRequest, RawResponse, exchange_error, read};

/// Concurrent calls per connection: the minimum RFC 9113 (6.5.2) recommends to servers. More calls
/// open another connection.
const MAX_STREAMS: usize = 100;
/// Unread bytes in flight, per response and per connection.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
/// A connection is pinged this often, and closed without a pong after `PONG_TIMEOUT`.
const PING_INTERVAL: Duration = Duration::from_secs(5);
const PONG_TIMEOUT: Duration = Duration::from_secs(2);
/// A call cancelled after this long without a response on its connection retires the connection.
const SILENCE_THRESHOLD: Duration = Duration::from_millis(200);

/// The open connections to one address.
#[derive(Debug, Default)]
pub(super) struct Http2Pool(Mutex<Vec<Arc<Http2Connection>>>);

impl Http2Pool {
    /// Returns a slot on a connection with room. Forgets connections that take no more calls; calls
    /// in flight on them complete.
    pub(super) fn acquire(&self) -> Option<StreamSlot> {
        let mut open = self.0.lock();
        open.retain(|connection| !connection.is_over());
        open.iter().find_map(StreamSlot::on)
    }

    pub(super) fn add(&self, connection: Http2Connection) -> Option<StreamSlot> {
        let connection = Arc::new(connection);
        let slot = StreamSlot::on(&connection);
        self.0.lock().push(connection);
        slot
    }
}

#[derive(Debug)]
pub(super) struct Http2Connection {
    sender: http2::SendRequest<Full<Bytes>>,
    streams: AtomicUsize,
    /// When a response last arrived.
    last_response: Mutex<Instant>,
    is_retired: AtomicBool,
}

impl Http2Connection {
    pub(super) async fn open(stream: Stream, tasks: &TaskTracker) -> Result<Self, TransportError> {
        let opened = http2::Builder::new(Tasks(tasks.clone()))
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PONG_TIMEOUT)
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(stream))
            .await;
        let (sender, driver) = opened.map_err(TransportError::Broken)?;
        // Ends with the connection, or when its last sender is dropped.
        tasks.spawn(async move {
            if let Err(error) = driver.await {
                tracing::debug!(%error, "A shared upstream connection ended.");
            }
        });
        let (streams, is_retired) = (AtomicUsize::new(0), AtomicBool::new(false));
        Ok(Self { sender, streams, last_response: Mutex::new(Instant::now()), is_retired })
    }

    fn is_over(&self) -> bool {
        self.is_retired.load(Ordering::Relaxed) || self.sender.is_closed()
    }

    /// Takes no more calls; calls in flight complete.
    fn retire(&self) {
        self.is_retired.store(true, Ordering::Relaxed);
    }
}

/// A slot for one call on a connection, freed when dropped.
#[derive(Debug)]
pub(super) struct StreamSlot {
    connection: Arc<Http2Connection>,
    /// Since when a response is awaited.
    waiting_since: Option<Instant>,
}

impl StreamSlot {
    fn on(connection: &Arc<Http2Connection>) -> Option<Self> {
        let has_room = connection.streams.fetch_add(1, Ordering::Relaxed) < MAX_STREAMS;
        let slot = Self { connection: Arc::clone(connection), waiting_since: None };
        has_room.then_some(slot)
    }

    /// Dropping the future resets the stream; the connection stays open.
    pub(super) async fn exchange(
        mut self,
        request: HttpRequest,
        limit: usize,
    ) -> Result<RawResponse, ExchangeError> {
        self.waiting_since = Some(Instant::now());
        let mut sender = self.connection.sender.clone();
        let response = sender.try_send_request(request).await;
        self.waiting_since = None;
        *self.connection.last_response.lock() = Instant::now();
        // A retry must not use this connection, which may be about to close.
        let response = response.map_err(|error| {
            self.connection.retire();
            exchange_error(error)
        })?;
        read(response, limit).await
    }
}

impl Drop for StreamSlot {
    fn drop(&mut self) {
        self.connection.streams.fetch_sub(1, Ordering::Relaxed);
        if let Some(since) = self.waiting_since
            && since.elapsed() >= SILENCE_THRESHOLD
            && *self.connection.last_response.lock() < since
        {
            self.connection.retire();
        }
    }
}

/// Converts to HTTP/2, where the authority is part of the target, not a header.
pub(super) fn for_http2(mut request: HttpRequest, base: &Uri) -> HttpRequest {
    request.headers_mut().remove(HOST);
    *request.version_mut() = Version::HTTP_2;
    let mut parts = base.clone().into_parts();
    parts.path_and_query = request.uri().path_and_query().cloned();
    *request.uri_mut() = Uri::from_parts(parts).expect("a base and a path are a target");
    request
}

/// Spawns a connection's tasks.
#[derive(Debug, Clone)]
struct Tasks(TaskTracker);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}
