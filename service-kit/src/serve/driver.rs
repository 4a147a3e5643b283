//! The task of one connection: serves HTTP on it, closes it at the first limit that is passed, and
//! drains it on shutdown.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::{Builder, Connection as Http};
use tokio::time::{Instant, Sleep, sleep_until, timeout, timeout_at};

use super::io_tracking::TrackedStream;
use super::service::{Applications, ConnectionService, MAX_HEADER_BYTES};
use super::{Accept, Shutdown, Socket};
use crate::connection::{Connection, Reason, StreamExecutor};

/// Bytes of headers that h2 reads; it answers more with a 431 without a body. Larger than
/// [`MAX_HEADER_BYTES`], so that a request above that limit gets a problem.
const MAX_HEADERS_READ: u32 = 128 * 1024;
/// Time to send GOAWAY on a connection that is closed because it is idle.
const GOAWAY_TIMEOUT: Duration = Duration::from_secs(1);

type HttpConnection<A> =
    Http<'static, TokioIo<TrackedStream<A>>, ConnectionService, StreamExecutor>;

pub(super) struct Driver {
    pub(super) connection: Arc<Connection>,
    pub(super) applications: Applications,
    pub(super) shutdown: Shutdown,
}

impl Driver {
    pub(super) async fn run<A: Accept>(self, acceptor: A, socket: Socket) {
        let Some(stream) = self.handshake(acceptor, socket).await else { return };
        let (connection, applications) = (Arc::clone(&self.connection), self.applications.clone());
        let io = TokioIo::new(TrackedStream::<A>::new(stream, connection, applications));
        let service = ConnectionService::new(
            self.applications.clone(),
            Arc::clone(&self.connection),
            self.shutdown.drain.clone(),
        );
        let http = pin!(http(&self.connection).serve_connection(io, service).into_owned());
        self.drive::<A>(http).await;
    }

    async fn handshake<A: Accept>(&self, acceptor: A, socket: Socket) -> Option<A::Stream> {
        let deadline = Instant::now() + Duration::from_millis(self.connection.limits.first_byte_ms);
        let accepted = tokio::select! {
            accepted = timeout_at(deadline, acceptor.accept(socket)) => accepted,
            () = self.shutdown.drain.cancelled() => return None,
        };
        match accepted {
            Ok(Ok(stream)) => Some(stream),
            Ok(Err(error)) => {
                tracing::debug!(%error, peer = %self.connection.peer, "A handshake failed.");
                None
            }
            Err(_) => {
                self.closed(Reason::HandshakeTimeout);
                None
            }
        }
    }

    async fn drive<A: Accept>(&self, mut http: Pin<&mut HttpConnection<A>>) {
        let mut watchdog = pin!(Watchdog::new(&self.connection).expired());
        let mut draining = pin!(self.drain_deadline());
        let mut is_draining = false;
        loop {
            tokio::select! {
                biased;
                ended = http.as_mut() => {
                    if let Err(error) = ended {
                        let peer = self.connection.peer;
                        tracing::debug!(error, %peer, "A connection ended early.");
                    }
                    return;
                }
                reason = &mut watchdog => return self.expire::<A>(reason, http).await,
                () = self.connection.ended() => return,
                () = &mut draining, if !is_draining => {
                    is_draining = true;
                    http.as_mut().graceful_shutdown();
                }
                () = self.shutdown.abort.cancelled() => return,
            }
        }
    }

    /// Resolves when the connection must take no more requests: HTTP/2 at once, because GOAWAY loses
    /// none; HTTP/1.1 after a delay for requests that are already in transit.
    async fn drain_deadline(&self) {
        self.shutdown.drain.cancelled().await;
        if !self.connection.is_http2() {
            tokio::time::sleep(Duration::from_millis(self.connection.limits.drain_idle_ms)).await;
        }
    }

    async fn expire<A: Accept>(&self, reason: Reason, mut http: Pin<&mut HttpConnection<A>>) {
        self.closed(reason);
        if reason == Reason::Idle {
            http.as_mut().graceful_shutdown();
            let _ = timeout(GOAWAY_TIMEOUT, http).await;
        }
    }

    fn closed(&self, reason: Reason) {
        self.connection.refused(reason);
        let (peer, reason) = (self.connection.peer, reason.into_str());
        tracing::debug!(%peer, reason, "A connection was closed at a limit.");
    }
}

fn http(connection: &Arc<Connection>) -> Builder<StreamExecutor> {
    let mut http = Builder::new(StreamExecutor(Arc::clone(connection)));
    // hyper's own header timeout also runs while a connection is idle.
    http.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(MAX_HEADER_BYTES);
    http.http2()
        .timer(TokioTimer::new())
        .max_header_list_size(MAX_HEADERS_READ)
        .max_concurrent_streams(250)
        .keep_alive_interval(Duration::from_secs(15))
        .keep_alive_timeout(Duration::from_secs(20));
    http
}

/// Fires when a connection passes a limit. Its timer is reset only when a limit moves closer, or when
/// it fires too early, so that a request in time costs no timer.
struct Watchdog<'a> {
    connection: &'a Connection,
    timer: Pin<Box<Sleep>>,
}

impl<'a> Watchdog<'a> {
    fn new(connection: &'a Connection) -> Self {
        let first = Instant::now() + Duration::from_millis(connection.limits.first_byte_ms);
        Self { connection, timer: Box::pin(sleep_until(first)) }
    }

    async fn expired(mut self) -> Reason {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// Must be polled whenever the connection made progress.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Reason> {
        loop {
            let expiry = self.connection.expiry();
            if let Some(expiry) = expiry.filter(|expiry| expiry.at < self.timer.deadline()) {
                self.timer.as_mut().reset(expiry.at);
            }
            ready!(self.timer.as_mut().poll(cx));
            let now = Instant::now();
            match expiry {
                Some(expiry) if expiry.at <= now => return Poll::Ready(expiry.reason),
                Some(expiry) => self.timer.as_mut().reset(expiry.at),
                // A limit that begins later is seen in time: progress wakes this task.
                None => self
                    .timer
                    .as_mut()
                    .reset(now + Duration::from_millis(self.connection.limits.idle_ms)),
            }
        }
    }
}
