//! Opens connections: resolves the name, connects, and performs the TLS handshake.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use rustls_platform_verifier::ConfigVerifierExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;
use tokio_util::task::TaskTracker;
use url::{Host, Url};

/// ALPN id (RFC 9113, section 3.2).
const ALPN_HTTP2: &[u8] = b"h2";
/// TLS handshake included.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(300);

/// A TCP or TLS stream.
pub(super) type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// Why no response was received.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    #[error("failed to connect")]
    Connect(#[source] io::Error),
    #[error("no connection within {CONNECT_TIMEOUT:?}")]
    ConnectTimeout,
    #[error("the connection broke")]
    Broken(#[source] hyper::Error),
    #[error("the machine's certificate store cannot be used")]
    Trust(#[source] rustls::Error),
}

/// Settings of all upstream connections. Proxy variables of the environment are ignored.
#[derive(Clone, derive_more::Debug)]
#[debug("Connector")]
pub struct Connector {
    tls: TlsConnector,
    /// Tasks that poll HTTP/2 connections; they end with their connections.
    tasks: TaskTracker,
}

impl Connector {
    /// Uses the machine's certificate store. The process must have a TLS provider installed.
    pub fn new() -> Result<Self, TransportError> {
        ClientConfig::with_platform_verifier().map(Self::trusting).map_err(TransportError::Trust)
    }

    /// Uses this TLS configuration.
    pub fn trusting(mut config: ClientConfig) -> Self {
        config.alpn_protocols = vec![ALPN_HTTP2.to_vec(), b"http/1.1".to_vec()];
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
            return Ok(Stream::Left(connection));
        }
        let name = ServerName::try_from(host_name(base)).map_err(io::Error::other)?;
        Ok(Stream::Right(Box::new(self.tls.connect(name, connection).await?)))
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

/// Whether both sides agreed on HTTP/2.
pub(super) fn agreed_on_http2(stream: &Stream) -> bool {
    matches!(stream, Stream::Right(tls) if tls.get_ref().1.alpn_protocol() == Some(ALPN_HTTP2))
}
