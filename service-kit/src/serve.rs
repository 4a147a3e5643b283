//! Listening: accepts connections, speaks HTTP/1.1 and HTTP/2, drains when asked.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tower::{Layer, ServiceExt};

use crate::lifecycle::Lifecycle;

/// Longest time a client may take to send its headers, or to finish a TLS handshake.
const SLOWEST_START: Duration = Duration::from_secs(10);
/// All headers of a request together, bytes.
const LARGEST_HEADERS: usize = 32 * 1024;

/// Turns an accepted connection into the stream HTTP runs on: itself, or TLS over it.
pub trait Accept: Clone + Send + Sync + 'static {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    fn accept(
        &self,
        connection: TcpStream,
    ) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

/// No TLS.
#[derive(Debug, Clone, Copy)]
pub struct Plain;

impl Accept for Plain {
    type Stream = TcpStream;

    async fn accept(&self, connection: TcpStream) -> io::Result<TcpStream> {
        Ok(connection)
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

/// Serves until the lifecycle stops, then lets requests under way finish. Returns at once; the
/// lifecycle waits for it.
pub fn serve<A: Accept>(listener: TcpListener, acceptor: A, app: Router, lifecycle: &Lifecycle) {
    let inner = lifecycle.clone();
    lifecycle.spawn(async move { run(listener, acceptor, app, &inner).await });
}

async fn run<A: Accept>(listener: TcpListener, acceptor: A, app: Router, lifecycle: &Lifecycle) {
    let server = server();
    let graceful = GracefulShutdown::new();
    loop {
        let (connection, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, most often: wait for some to come back.
                    tracing::error!(%error, "A connection could not be accepted.");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            () = lifecycle.stopping() => break,
        };
        let _ = connection.set_nodelay(true);
        let (acceptor, server, app) = (acceptor.clone(), server.clone(), app.clone());
        let watcher = graceful.watcher();
        lifecycle.spawn(async move {
            let Ok(Ok(stream)) =
                tokio::time::timeout(SLOWEST_START, acceptor.accept(connection)).await
            else {
                return;
            };
            let app = axum::Extension(ConnectInfo(peer)).layer(app);
            let service = TowerToHyperService::new(
                app.map_request(|request: http::Request<_>| request.map(axum::body::Body::new)),
            );
            let serving =
                server.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
            if let Err(error) = watcher.watch(serving).await {
                tracing::debug!(%error, %peer, "A connection ended early.");
            }
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

fn server() -> Builder<TokioExecutor> {
    let mut server = Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(SLOWEST_START)
        .max_buf_size(LARGEST_HEADERS);
    server
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(LARGEST_HEADERS as u32)
        .max_concurrent_streams(250)
        .keep_alive_interval(Duration::from_secs(15))
        .keep_alive_timeout(Duration::from_secs(20));
    server
}
