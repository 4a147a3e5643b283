//! The state of one connection: what it waits for, which limits apply, and whether a request on it was
//! authenticated. Shared by its socket, its requests and the task that drives it.
//!
//! Not here: the sockets and the HTTP protocol, which are in [`crate::serve`].

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::Extensions;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

mod body;
mod delivery;
mod framing;
mod limits;
mod metrics;
mod progress;
mod slots;

pub use body::BodyTimeout;
pub use limits::ConnectionLimits;
pub use metrics::ConnectionMetrics;
pub use slots::address_group;

pub(crate) use body::{BODY_TIMEOUT_DETAIL, TimedBody, TrackedBody};
pub(crate) use delivery::StreamExecutor;
pub(crate) use framing::Framing;
pub(crate) use metrics::{Meters, Reason};
pub(crate) use slots::Slots;

use framing::Received;
use progress::{Expiry, Progress};
use slots::Slot;

/// How a connection is closed early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseKind {
    /// Without a response.
    Close,
    /// With an RST, which tells the peer that data may be lost.
    Reset,
}

/// The connection of a request, in the request's extensions.
#[derive(Debug, Clone)]
pub struct ConnectionHandle(pub(crate) Arc<Connection>);

impl ConnectionHandle {
    /// Closes the connection at once, with all requests on it.
    pub fn close(&self, close_kind: CloseKind) {
        self.0.close_kind.send_replace(Some(close_kind));
    }

    /// Marks the connection as authenticated: it no longer counts toward the limit of its client
    /// address.
    pub fn mark_authenticated(&self) {
        self.0.slot.authenticated();
    }
}

/// [`ConnectionHandle::mark_authenticated`] for the request with these extensions.
pub fn mark_authenticated(extensions: &Extensions) {
    if let Some(connection) = extensions.get::<ConnectionHandle>() {
        connection.mark_authenticated();
    }
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) limits: ConnectionLimits,
    pub(crate) peer: SocketAddr,
    slot: Slot,
    progress: Mutex<Progress>,
    close_kind: watch::Sender<Option<CloseKind>>,
    has_continuing_stream: AtomicBool,
}

impl Connection {
    pub(crate) fn new(limits: ConnectionLimits, peer: SocketAddr, slot: Slot) -> Arc<Self> {
        let progress = Mutex::new(Progress::new(Instant::now()));
        let (close_kind, has_continuing_stream) = (watch::Sender::new(None), AtomicBool::default());
        Arc::new(Self { limits, peer, slot, progress, close_kind, has_continuing_stream })
    }

    pub(crate) fn received(&self, received: Received) {
        self.progress.lock().received(received, Instant::now());
    }

    pub(crate) fn wrote(&self, is_blocked: bool) {
        self.progress.lock().wrote(is_blocked, Instant::now());
    }

    pub(crate) fn is_http2(&self) -> bool {
        self.progress.lock().is_http2()
    }

    pub(crate) fn is_reading_headers(&self) -> bool {
        self.progress.lock().is_reading_headers()
    }

    pub(crate) fn expiry(&self) -> Option<Expiry> {
        self.progress.lock().expiry(&self.limits)
    }

    /// Begins a request, which is active until the returned value is dropped.
    pub(crate) fn request(self: &Arc<Self>) -> ActiveRequest {
        self.progress.lock().request_began();
        ActiveRequest(Arc::clone(self))
    }

    /// Notes that an HTTP/2 stream was woken to send its next frame.
    fn stream_continues(&self) {
        self.has_continuing_stream.store(true, Ordering::Relaxed);
    }

    /// Whether a stream was woken to send its next frame since the last call.
    pub(crate) fn take_continuing_stream(&self) -> bool {
        self.has_continuing_stream.swap(false, Ordering::Relaxed)
    }

    /// Counts the connection for the address that a proxy named with its first request.
    pub(crate) fn claim(&self, address: IpAddr) -> Result<(), Reason> {
        self.slot.claim(address)
    }

    pub(crate) fn refused(&self, reason: Reason) {
        self.slot.refused(reason);
    }

    pub(crate) fn is_reset(&self) -> bool {
        *self.close_kind.borrow() == Some(CloseKind::Reset)
    }

    /// Resolves when [`ConnectionHandle::close`] was called.
    pub(crate) async fn ended(&self) {
        // The sender lives in `self`: this does not fail.
        let _ = self.close_kind.subscribe().wait_for(Option::is_some).await;
    }
}

/// A request of a connection, until its response was sent or dropped.
#[derive(Debug)]
pub(crate) struct ActiveRequest(Arc<Connection>);

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        self.0.progress.lock().request_ended(Instant::now());
    }
}
