//! Listeners: accept connections within limits, serve HTTP/1.1 and HTTP/2, and drain on shutdown.
//!
//! All servers of the platform listen through this module. A connection passes these stages, each with
//! a limit of [`ConnectionLimits`]: accepted and counted, TLS handshake, first byte, headers, body,
//! response, idle; and again from the headers.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use contracts::env::Env;
use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connection::{Connection, Meters, Slots};
use crate::lifecycle::Lifecycle;
use crate::request::Observer;
use crate::{connection_metrics, request_metrics};

mod driver;
mod file_limit;
mod host;
mod io_tracking;
mod service;
mod socket;
#[cfg(test)]
mod tests;
mod unparsed;
mod write_buffer;

pub use crate::connection::{
    BodyTimeout, CloseKind, ConnectionHandle, ConnectionLimits, ConnectionMetrics, address_group,
    mark_authenticated,
};

use driver::Driver;
use service::Applications;
pub use socket::Socket;

/// Turns an accepted connection into the stream HTTP runs on: itself, or TLS over it.
pub trait Accept: Clone + Send + Sync + 'static {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    fn accept(&self, connection: Socket) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

/// No TLS.
#[derive(Debug, Clone, Copy)]
pub struct Plain;

impl Accept for Plain {
    type Stream = Socket;

    async fn accept(&self, connection: Socket) -> io::Result<Socket> {
        Ok(connection)
    }
}

impl Accept for TlsAcceptor {
    type Stream = TlsStream<Socket>;

    async fn accept(&self, connection: Socket) -> io::Result<Self::Stream> {
        Self::accept(self, connection).await
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

/// Finds the address of a client behind our proxies, from the peer of the connection and the headers
/// of a request.
pub type ClientAddress = Arc<dyn Fn(IpAddr, &HeaderMap) -> IpAddr + Send + Sync>;

/// Name, limits and metrics of a listener.
#[derive(Debug, Clone)]
pub struct ListenerConfig {
    /// Label of its metrics.
    pub name: &'static str,
    pub limits: ConnectionLimits,
    pub metrics: ConnectionMetrics,
    /// Observes requests that the listener itself refuses.
    pub observer: Observer,
}

impl ListenerConfig {
    /// For tests and tools: production limits, and metrics under the name `unobserved`.
    pub fn unobserved() -> Self {
        Self {
            name: "unobserved",
            limits: ConnectionLimits::default(),
            metrics: connection_metrics!("unobserved"),
            observer: Observer { metrics: request_metrics!("unobserved"), env: Env::system() },
        }
    }
}

/// Serves with [`ListenerConfig::unobserved`]. For tests and tools.
pub fn serve<A: Accept>(listener: TcpListener, acceptor: A, app: Router, lifecycle: &Lifecycle) {
    Server::new(app, ListenerConfig::unobserved()).serve(listener, acceptor, lifecycle);
}

/// Signals that stop a listener and its connections.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Begins the drain: no more connections are accepted, and clients are told to close theirs.
    pub drain: CancellationToken,
    /// Drops the remaining connections.
    pub abort: CancellationToken,
}

/// An application and the limits it is served within.
#[derive(Clone, derive_more::Debug)]
#[debug("Server {{ limits: {limits:?}, .. }}")]
pub struct Server {
    applications: Applications,
    limits: ConnectionLimits,
    slots: Arc<Slots>,
    /// Whether the peer of a connection is the client.
    is_peer_client: bool,
}

impl Server {
    pub fn new(app: Router, config: ListenerConfig) -> Self {
        Self::build(app, config, None)
    }

    /// For a listener behind our proxies: a connection counts for the client of its first request, and
    /// that request is refused if the client has too many.
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

    /// Serves until the lifecycle stops, then lets active requests finish. Returns at once; the
    /// lifecycle waits for the connections.
    pub fn serve<A: Accept>(self, listener: TcpListener, acceptor: A, lifecycle: &Lifecycle) {
        file_limit::raise();
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
                Ok((socket, peer)) => {
                    self.admit(socket, peer, acceptor.clone(), shutdown, tasks);
                    // A burst of connections must not hold up the requests of others.
                    tokio::task::yield_now().await;
                }
                Err(error) => {
                    // Usually out of file descriptors: wait until some are closed.
                    tracing::error!(%error, "Failed to accept a connection.");
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
                tracing::debug!(%peer, reason = reason.into_str(), "A connection was refused.");
                return;
            }
        };
        let _ = socket.set_nodelay(true);
        let connection = Connection::new(self.limits, peer, slot);
        let socket = Socket::new(socket, Arc::clone(&connection));
        let applications = self.applications.clone();
        let driver = Driver { connection, applications, shutdown: shutdown.clone() };
        tasks.spawn(driver.run(acceptor, socket));
    }
}
