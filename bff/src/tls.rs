//! TLS of the public listener. The certificate is read again when its files change, so that a
//! renewal needs no restart.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use service_kit::lifecycle::Lifecycle;
use service_kit::serve::Accept;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config::TlsConfig;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error(
        "{path} cannot be read as PEM: {source}. Check public.tls.cert_file and public.tls.key_file."
    )]
    Pem { path: String, source: rustls::pki_types::pem::Error },
    #[error("the certificate and key cannot be used: {0}. They must belong together.")]
    Key(#[from] rustls::Error),
}

#[derive(Debug)]
struct Reloading(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Reloading {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

/// Accepts TLS connections that speak HTTP/2 or HTTP/1.1.
#[derive(Clone)]
pub struct Tls(TlsAcceptor);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    pub fn new(config: &TlsConfig, lifecycle: &Lifecycle) -> Result<Self, TlsError> {
        let key = Arc::new(Reloading(ArcSwap::from_pointee(load(config)?)));
        lifecycle.spawn_until_stop(watch(config.clone(), Arc::clone(&key)));
        let mut server =
            rustls::ServerConfig::builder().with_no_client_auth().with_cert_resolver(key);
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self(TlsAcceptor::from(Arc::new(server))))
    }
}

impl Accept for Tls {
    type Stream = TlsStream<TcpStream>;

    async fn accept(&self, connection: TcpStream) -> std::io::Result<Self::Stream> {
        self.0.accept(connection).await
    }
}

fn load(config: &TlsConfig) -> Result<CertifiedKey, TlsError> {
    let pem = |path: &Path| {
        let path = path.display().to_string();
        move |source| TlsError::Pem { path, source }
    };
    let chain = CertificateDer::pem_file_iter(&config.cert_file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(pem(&config.cert_file))?;
    let key = PrivateKeyDer::from_pem_file(&config.key_file).map_err(pem(&config.key_file))?;
    let key = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())?;
    key.keys_match()?;
    Ok(key)
}

async fn watch(config: TlsConfig, current: Arc<Reloading>) {
    let mut seen = changed_at(&config).await;
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        look.tick().await;
        let now = changed_at(&config).await;
        if now == seen {
            continue;
        }
        match load(&config) {
            Ok(key) => {
                current.0.store(Arc::new(key));
                seen = now;
                tracing::info!("The certificate was read again.");
            }
            // Half written, perhaps: the old one stays and the next look tries again.
            Err(error) => tracing::warn!(%error, "The changed certificate was not taken."),
        }
    }
}

async fn changed_at(config: &TlsConfig) -> [Option<SystemTime>; 2] {
    let at = async |path: &Path| tokio::fs::metadata(path).await.ok()?.modified().ok();
    [at(&config.cert_file).await, at(&config.key_file).await]
}
