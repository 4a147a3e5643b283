//! TLS of the public listener. The certificate is reloaded when its files change, so that a renewal
//! needs no restart; its expiry is a metric.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use metrics::gauge;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use service_kit::background::{BackgroundTask, Schedule};
use tokio_rustls::TlsAcceptor;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::config::TlsConfig;

/// How often the files are checked.
pub(crate) const CERTIFICATE_POLL: Schedule = Schedule::every(Duration::from_secs(2));
/// Gauge: expiry of the current certificate, seconds since 1970.
const EXPIRY: &str = "bff_backoffice_tls_certificate_expiry_seconds";

#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error(
        "{path} cannot be read as PEM: {source}. Check public.tls.cert_file and public.tls.key_file."
    )]
    Pem { path: String, source: rustls::pki_types::pem::Error },
    #[error("the certificate and key cannot be used: {0}. They must belong together.")]
    Key(#[from] rustls::Error),
    #[error("{0} holds no certificate that can be read. Put the server's own first.")]
    Certificate(String),
}

/// The current certificate.
#[derive(Debug)]
struct Loaded {
    key: Arc<CertifiedKey>,
    /// Seconds since 1970.
    expires_at: i64,
}

#[derive(Debug)]
struct Reloading(ArcSwap<Loaded>);

impl Reloading {
    fn replace(&self, loaded: Loaded) {
        gauge!(EXPIRY).set(loaded.expires_at as f64);
        self.0.store(Arc::new(loaded));
    }
}

impl ResolvesServerCert for Reloading {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.load().key))
    }
}

#[derive(Clone, derive_more::Debug)]
#[debug("Tls")]
pub(crate) struct Tls {
    /// Accepts connections that speak HTTP/2 or HTTP/1.1.
    pub(crate) acceptor: TlsAcceptor,
    current: Arc<Reloading>,
}

impl Tls {
    /// Loads the files.
    pub(crate) fn load(config: &TlsConfig) -> Result<Self, TlsError> {
        let loaded = load(config)?;
        gauge!(EXPIRY).set(loaded.expires_at as f64);
        let current = Arc::new(Reloading(ArcSwap::from_pointee(loaded)));
        let mut server = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&current) as Arc<dyn ResolvesServerCert>);
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(server)), current })
    }

    /// The task that loads these files again when they change.
    pub(crate) fn reload(&self, config: &TlsConfig) -> CertificateReload {
        let (config, current) = (config.clone(), Arc::clone(&self.current));
        CertificateReload { config, current, loaded: [None; 2] }
    }

    /// Expiry of the current certificate, seconds since 1970.
    #[cfg(test)]
    pub(crate) fn expires_at(&self) -> i64 {
        self.current.0.load().expires_at
    }
}

fn load(config: &TlsConfig) -> Result<Loaded, TlsError> {
    let pem = |path: &Path| {
        let path = path.display().to_string();
        move |source| TlsError::Pem { path, source }
    };
    let chain = CertificateDer::pem_file_iter(&config.cert_file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(pem(&config.cert_file))?;
    let key = PrivateKeyDer::from_pem_file(&config.key_file).map_err(pem(&config.key_file))?;
    let expires_at = chain.first().and_then(expiry_of);
    let expires_at =
        expires_at.ok_or_else(|| TlsError::Certificate(config.cert_file.display().to_string()))?;
    let key = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())?;
    key.keys_match()?;
    Ok(Loaded { key: Arc::new(key), expires_at })
}

fn expiry_of(certificate: &CertificateDer<'static>) -> Option<i64> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(parsed.validity().not_after.timestamp())
}

/// Loads the certificate again when its files change.
#[derive(Debug)]
pub(crate) struct CertificateReload {
    config: TlsConfig,
    current: Arc<Reloading>,
    /// Modification times of the certificate and the key that this task loaded last; `None` before that,
    /// and for a file that has none.
    loaded: [Option<SystemTime>; 2],
}

impl BackgroundTask for CertificateReload {
    type Status = ();
    type Error = TlsError;

    /// Fails while the files are invalid, possibly half written; the current certificate stays.
    async fn activate(&mut self) -> Result<(), TlsError> {
        let now = changed_at(&self.config).await;
        if now != self.loaded {
            let loaded = load(&self.config)?;
            tracing::info!(ends = loaded.expires_at, "Loaded the TLS certificate.");
            self.current.replace(loaded);
            self.loaded = now;
        }
        Ok(())
    }
}

async fn changed_at(config: &TlsConfig) -> [Option<SystemTime>; 2] {
    let at = async |path: &Path| tokio::fs::metadata(path).await.ok()?.modified().ok();
    [at(&config.cert_file).await, at(&config.key_file).await]
}
