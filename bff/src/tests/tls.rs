//! A renewed certificate is served without a restart, tested by real handshakes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use contracts::clock::Entropy;
use contracts::env::Env;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use service_kit::background::TaskDriver;
use service_kit::lifecycle::Lifecycle;
use service_kit::serve::{bind, serve};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::TlsConfig;
use crate::http::tls::{CERTIFICATE_POLL, Tls};

/// A certificate of its own making, in PEM and DER, and its key.
pub(crate) struct Made {
    pub(crate) cert: String,
    pub(crate) key: String,
    pub(crate) der: Vec<u8>,
}

pub(crate) fn made(last_year: i32) -> Made {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_after = date_time_ymd(last_year, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    Made { cert: certificate.pem(), key: key.serialize_pem(), der: certificate.der().to_vec() }
}

pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("tls-{:x}", Entropy::system().u128()));
        std::fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    pub(crate) fn config(&self) -> TlsConfig {
        TlsConfig { cert_file: self.0.join("cert.pem"), key_file: self.0.join("key.pem") }
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(Path::new(name)), text).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A connection that trusts this certificate alone and offers no protocol.
pub(crate) async fn connect(address: SocketAddr, trusted: &[u8]) -> TlsStream<TcpStream> {
    handshake(address, [trusted]).await
}

/// The server's certificate, from a handshake of its own.
async fn served(address: SocketAddr, trusted: &[&Made]) -> Vec<u8> {
    let stream = handshake(address, trusted.iter().map(|made| &made.der[..])).await;
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

async fn handshake<'a>(
    address: SocketAddr,
    trusted: impl IntoIterator<Item = &'a [u8]>,
) -> TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in trusted {
        roots.add(certificate.to_vec().into()).unwrap();
    }
    let client =
        rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let connection = TcpStream::connect(address).await.unwrap();
    let name = "localhost".try_into().unwrap();
    TlsConnector::from(Arc::new(client)).connect(name, connection).await.unwrap()
}

#[tokio::test]
async fn a_changed_certificate_is_served_without_a_restart_and_a_half_written_one_is_not() {
    service_kit::http_client::install_crypto_provider();
    let (folder, old, new) = (Folder::new(), made(2090), made(2095));
    folder.write("cert.pem", &old.cert);
    folder.write("key.pem", &old.key);
    let lifecycle = Lifecycle::new();
    let tls = Tls::load(&folder.config()).unwrap();
    let driver = TaskDriver::new(Env::system(), lifecycle.clone());
    driver.start("reload-tls-certificate", tls.reload(&folder.config()), CERTIFICATE_POLL);
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    serve(listener, tls.acceptor.clone(), Router::new(), &lifecycle);
    let trusted = [&old, &new];
    assert_eq!(served(address, &trusted).await, old.der);
    assert_eq!(tls.expires_at(), 3_786_912_000, "2090-01-01");

    // Half a file, then a whole one whose key has not come yet: two looks' time each.
    for half in [&new.cert[..new.cert.len() / 2], new.cert.as_str()] {
        folder.write("cert.pem", half);
        let end = tokio::time::Instant::now() + Duration::from_secs(5);
        while tokio::time::Instant::now() < end {
            assert_eq!(served(address, &trusted).await, old.der);
        }
    }
    folder.write("key.pem", &new.key);
    let changed = async { while served(address, &trusted).await != new.der {} };
    tokio::time::timeout(Duration::from_secs(10), changed).await.expect("it is served");
    assert_eq!(tls.expires_at(), 3_944_678_400, "2095-01-01");
    lifecycle.stop();
}
