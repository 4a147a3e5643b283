//! What the parts of one connection share: its socket, its requests, and the task that drives it.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::Extensions;
use tokio::sync::watch;
use tokio::time::Instant;

use super::framing::Received;
use super::limits::ConnectionLimits;
use super::metrics::Reason;
use super::progress::{Expiry, Progress};
use super::slots::Slot;

/// How a connection ends before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Closed without an answer.
    Close,
    /// With an RST, which tells the peer that data may be lost.
    Reset,
}

/// The connection a request came on. Is in the request's extensions.
#[derive(Debug, Clone)]
pub struct ConnectionHandle(pub(super) Arc<Connection>);

impl ConnectionHandle {
    /// Ends the connection at once, with whatever runs on it.
    pub fn end(&self, ending: Ending) {
        self.0.ending.send_replace(Some(ending));
    }

    /// Notes that a request on it was authenticated: the connection no longer counts as one of
    /// those that a client address may have only so many of.
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
pub(super) struct Connection {
    pub(super) limits: ConnectionLimits,
    pub(super) peer: SocketAddr,
    slot: Slot,
    progress: Mutex<Progress>,
    ending: watch::Sender<Option<Ending>>,
}

impl Connection {
    pub(super) fn new(limits: ConnectionLimits, peer: SocketAddr, slot: Slot) -> Arc<Self> {
        let progress = Mutex::new(Progress::new(Instant::now()));
        Arc::new(Self { limits, peer, slot, progress, ending: watch::Sender::new(None) })
    }

    pub(super) fn received(&self, received: Received) {
        self.progress().received(received, Instant::now());
    }

    pub(super) fn wrote(&self, is_blocked: bool) {
        self.progress().wrote(is_blocked, Instant::now());
    }

    pub(super) fn is_http2(&self) -> bool {
        self.progress().is_http2()
    }

    pub(super) fn expiry(&self) -> Option<Expiry> {
        self.progress().expiry(&self.limits)
    }

    /// The request is under way until what this returns is dropped.
    pub(super) fn request(self: &Arc<Self>) -> UnderWay {
        self.progress().request_began();
        UnderWay(Arc::clone(self))
    }

    /// Counts the connection for the address that a proxy named with its first request.
    pub(super) fn claim(&self, address: IpAddr) -> Result<(), Reason> {
        self.slot.claim(address)
    }

    pub(super) fn refused(&self, reason: Reason) {
        self.slot.refused(reason);
    }

    pub(super) fn is_reset(&self) -> bool {
        *self.ending.borrow() == Some(Ending::Reset)
    }

    /// Resolves when a request asked for the connection's end.
    pub(super) async fn ended(&self) {
        // The sender lives in `self`: this does not fail.
        let _ = self.ending.subscribe().wait_for(Option::is_some).await;
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request of a connection, until its answer was handed over or given up.
#[derive(Debug)]
pub(super) struct UnderWay(Arc<Connection>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.progress().request_ended(Instant::now());
    }
}
