//! HTTP clients of the launcher: rustls, no proxy.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, RequestBuilder};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Client for plain HTTP on this machine; trusts no certificate.
pub fn plain() -> anyhow::Result<Client> {
    build(RootCertStore::empty())
}

/// Client that trusts only the certificates in `ca_file`.
pub(crate) fn trusting(ca_file: &Path) -> anyhow::Result<Client> {
    build(roots_in(ca_file)?)
}

/// TLS configuration that trusts only the certificates in `ca_file`.
pub fn tls_trusting(ca_file: &Path) -> anyhow::Result<ClientConfig> {
    tls(roots_in(ca_file)?)
}

fn roots_in(ca_file: &Path) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let found = CertificateDer::pem_file_iter(ca_file)
        .with_context(|| format!("reading {}", ca_file.display()))?;
    for certificate in found {
        roots.add(certificate?)?;
    }
    Ok(roots)
}

fn tls(roots: RootCertStore) -> anyhow::Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

fn build(roots: RootCertStore) -> anyhow::Result<Client> {
    let mut tls = tls(roots)?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        // The servers listen on IPv4 only.
        .resolve("localhost", SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
        .build()
        .context("making an HTTP client")
}

/// Sets a form as the body of a request.
pub(crate) fn with_form(request: RequestBuilder, form: &[(&str, &str)]) -> RequestBuilder {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body)
}
