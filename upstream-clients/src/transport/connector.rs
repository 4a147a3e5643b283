//! Makes connections: resolves the address, connects, and over `https` shakes hands.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use rustls_platform_verifier::ConfigVerifierExt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::task::TaskTracker;
use url::{Host, Url};

/// The name of HTTP/2 in the TLS handshake (RFC 9113, section 3.2).
const HTTP2: &[u8] = b"h2";
/// Longest time to a usable connection, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(300);

/// Why no answer came over the wire.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    #[error("no connection was made")]
    Connect(#[source] io::Error),
    #[error("no connection was made within {CONNECT_TIMEOUT:?}")]
    ConnectTimeout,
    #[error("the connection broke")]
    Broken(#[source] hyper::Error),
    #[error("the machine's certificate store cannot be used")]
    Trust(#[source] rustls::Error),
}

/// What connections to upstreams have in common. No proxy, whatever the environment says.
#[derive(Clone)]
pub struct Connector {
    tls: TlsConnector,
    /// Those that drive HTTP/2 connections. They end with their connections.
    tasks: TaskTracker,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connector")
    }
}

impl Connector {
    /// Trusts whom this machine trusts. The process must have a TLS provider.
    pub fn new() -> Result<Self, TransportError> {
        ClientConfig::with_platform_verifier().map(Self::trusting).map_err(TransportError::Trust)
    }

    /// With trust of its own.
    pub fn trusting(mut config: ClientConfig) -> Self {
        config.alpn_protocols = vec![HTTP2.to_vec(), b"http/1.1".to_vec()];
        Self { tls: TlsConnector::from(Arc::new(config)), tasks: TaskTracker::new() }
    }

    pub(super) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    pub(super) async fn connect(&self, base: &Url) -> Result<Stream, TransportError> {
        let connected = timeout(CONNECT_TIMEOUT, self.stream(base)).await;
        connected.map_err(|_| TransportError::ConnectTimeout)?.map_err(TransportError::Connect)
    }

    async fn stream(&self, base: &Url) -> io::Result<Stream> {
        let connection = tcp(base).await?;
        connection.set_nodelay(true)?;
        if base.scheme() != "https" {
            return Ok(Stream::Plain(connection));
        }
        let name = ServerName::try_from(host_name(base)).map_err(io::Error::other)?;
        Ok(Stream::Tls(Box::new(self.tls.connect(name, connection).await?)))
    }
}

async fn tcp(base: &Url) -> io::Result<TcpStream> {
    let port = base.port_or_known_default().unwrap_or_default();
    match base.host() {
        Some(Host::Ipv4(address)) => TcpStream::connect((address, port)).await,
        Some(Host::Ipv6(address)) => TcpStream::connect((address, port)).await,
        Some(Host::Domain(name)) => TcpStream::connect((name, port)).await,
        None => Err(io::Error::other("the address names no host")),
    }
}

fn host_name(base: &Url) -> String {
    base.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned()
}

/// What HTTP runs on.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Whether both sides agreed on HTTP/2.
    pub(super) fn agreed_on_http2(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol() == Some(HTTP2),
        }
    }
}

macro_rules! of_either {
    ($stream:expr, $inner:ident => $call:expr) => {
        match $stream.get_mut() {
            Stream::Plain($inner) => $call,
            Stream::Tls($inner) => $call,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        of_either!(self, it => Pin::new(it).poll_read(cx, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        of_either!(self, it => Pin::new(it).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        of_either!(self, it => Pin::new(it).poll_write_vectored(cx, bytes))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(it) => it.is_write_vectored(),
            Self::Tls(it) => it.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        of_either!(self, it => Pin::new(it).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        of_either!(self, it => Pin::new(it).poll_shutdown(cx))
    }
}
