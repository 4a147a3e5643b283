//! Listening: accepts connections within limits, speaks HTTP/1.1 and HTTP/2, drains when asked.
//!
//! Every server of the platform listens through here. A connection passes these stages, each with a
//! limit of [`ConnectionLimits`]: accepted and counted, TLS handshake, first byte, headers, body,
//! answer, idle; and again from the headers.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use contracts::clock::{Clock, Entropy};
use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::lifecycle::Lifecycle;
use crate::request::Observer;
use crate::{connection_metrics, request_metrics};

mod body;
mod connection;
mod driver;
mod files;
mod framing;
mod host;
mod io_tracking;
mod limits;
mod metrics;
mod progress;
mod service;
mod slots;
#[cfg(test)]
mod tests;

pub use body::BodyTimeout;
pub use connection::{ConnectionHandle, Ending, mark_authenticated};
pub use limits::ConnectionLimits;
pub use metrics::ConnectionMetrics;
pub use slots::address_group;

use connection::Connection;
use driver::Driver;
use metrics::Meters;
use service::Applications;
use slots::Slots;

/// The detail of a 408.
pub(crate) const BODY_TOO_SLOW: &str =
    "The request body took too long to arrive. Check the connection, then send the request again.";

/// Turns an accepted connection into the stream HTTP runs on: itself, or TLS over it.
pub trait Accept: Clone + Send + Sync + 'static {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    fn accept(
        &self,
        connection: TcpStream,
    ) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// Makes the socket send an RST when it is closed.
    fn reset_on_close(stream: &Self::Stream);
}

/// No TLS.
#[derive(Debug, Clone, Copy)]
pub struct Plain;

impl Accept for Plain {
    type Stream = TcpStream;

    async fn accept(&self, connection: TcpStream) -> io::Result<TcpStream> {
        Ok(connection)
    }

    fn reset_on_close(stream: &TcpStream) {
        let _ = stream.set_zero_linger();
    }
}

#[derive(Debug, thiserror::Error)]
#[error(
    "{address} cannot be listened on: {source}. Stop the program that uses it, or configure another address."
)]
pub struct BindError {
    address: SocketAddr,
    source: io::Error,
}

pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|source| BindError { address, source })
}

/// Tells a client's address from the peer of the connection and the headers of a request, behind
/// proxies of our own.
pub type ClientAddress = Arc<dyn Fn(IpAddr, &HeaderMap) -> IpAddr + Send + Sync>;

/// What a listener is called, and what its connections may do.
#[derive(Debug, Clone)]
pub struct ListenerConfig {
    /// Label of its metrics.
    pub name: &'static str,
    pub limits: ConnectionLimits,
    pub metrics: ConnectionMetrics,
    /// Observes the requests that the listener itself refuses.
    pub observer: Observer,
}

impl ListenerConfig {
    /// For tests and tools: the limits of production, and metrics that nobody reads.
    pub fn unobserved() -> Self {
        Self {
            name: "unobserved",
            limits: ConnectionLimits::default(),
            metrics: connection_metrics!("unobserved"),
            observer: Observer {
                metrics: request_metrics!("unobserved"),
                clock: Clock::system(),
                entropy: Entropy::system(),
            },
        }
    }
}

/// Serves with [`ListenerConfig::unobserved`]. For tests and tools.
pub fn serve<A: Accept>(listener: TcpListener, acceptor: A, app: Router, lifecycle: &Lifecycle) {
    Server::new(app, ListenerConfig::unobserved()).serve(listener, acceptor, lifecycle);
}

/// Asks a listener and its connections to stop.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Begins the drain: nothing is accepted any more, clients learn that the connection ends.
    pub drain: CancellationToken,
    /// Drops what still runs.
    pub abort: CancellationToken,
}

/// An application and the limits it is served within.
#[derive(Clone)]
pub struct Server {
    applications: Applications,
    limits: ConnectionLimits,
    slots: Arc<Slots>,
    /// Whether the peer of a connection is the client.
    is_peer_client: bool,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Server {
    pub fn new(app: Router, config: ListenerConfig) -> Self {
        Self::build(app, config, None)
    }

    /// Behind proxies of our own. A connection then counts for the client of its first request, and
    /// is refused with that request.
    pub fn behind_proxies(app: Router, config: ListenerConfig, client: ClientAddress) -> Self {
        Self::build(app, config, Some(client))
    }

    fn build(app: Router, config: ListenerConfig, client: Option<ClientAddress>) -> Self {
        let ListenerConfig { name, limits, metrics, observer } = config;
        let is_peer_client = client.is_none();
        let applications = Applications::new(app, observer, client);
        let slots = Slots::new(limits, Meters::new(metrics, name));
        Self { applications, limits, slots, is_peer_client }
    }

    /// Serves until the lifecycle stops, then lets requests under way finish. Returns at once; the
    /// lifecycle waits for it.
    pub fn serve<A: Accept>(self, listener: TcpListener, acceptor: A, lifecycle: &Lifecycle) {
        files::raise_limit();
        let tasks = lifecycle.tasks();
        let shutdown = Shutdown { drain: lifecycle.stop_token(), ..Shutdown::default() };
        let accepting = tasks.clone();
        tasks.spawn(async move { self.accept(&listener, acceptor, &shutdown, &accepting).await });
    }

    /// Accepts connections until the drain begins. Each runs as one of `tasks`.
    pub async fn accept<A: Accept>(
        &self,
        listener: &TcpListener,
        acceptor: A,
        shutdown: &Shutdown,
        tasks: &TaskTracker,
    ) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = shutdown.drain.cancelled() => return,
            };
            match accepted {
                Ok((socket, peer)) => self.admit(socket, peer, acceptor.clone(), shutdown, tasks),
                Err(error) => {
                    // Out of file descriptors, most often: wait for some to come back.
                    tracing::error!(%error, "A connection could not be accepted.");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    fn admit<A: Accept>(
        &self,
        socket: TcpStream,
        peer: SocketAddr,
        acceptor: A,
        shutdown: &Shutdown,
        tasks: &TaskTracker,
    ) {
        let slot = match self.slots.admit(self.is_peer_client.then(|| peer.ip())) {
            Ok(slot) => slot,
            Err(reason) => {
                self.slots.meters.refused(reason);
                tracing::debug!(%peer, reason = reason.label(), "A connection was refused.");
                return;
            }
        };
        let _ = socket.set_nodelay(true);
        let connection = Connection::new(self.limits, peer, slot);
        let applications = self.applications.clone();
        let driver = Driver { connection, applications, shutdown: shutdown.clone() };
        tasks.spawn(driver.run(acceptor, socket));
    }
}
