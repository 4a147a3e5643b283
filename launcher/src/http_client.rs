//! HTTP clients of the launcher: rustls, no proxy.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use reqwest::dns::Resolve;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, ClientBuilder, RequestBuilder};
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

/// Client that trusts only the certificates in `ca_file`. It asks the resolver for each request, because
/// it keeps no connection.
pub fn resolving(ca_file: &Path, resolver: impl Resolve + 'static) -> anyhow::Result<Client> {
    let builder = builder(roots_in(ca_file)?)?.dns_resolver(resolver).pool_max_idle_per_host(0);
    builder.build().context("making an HTTP client")
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
    // The servers listen on IPv4 only.
    let builder = builder(roots)?.resolve("localhost", SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    builder.build().context("making an HTTP client")
}

fn builder(roots: RootCertStore) -> anyhow::Result<ClientBuilder> {
    let mut tls = tls(roots)?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let builder = Client::builder().tls_backend_preconfigured(tls).no_proxy();
    Ok(builder.connect_timeout(CONNECT_TIMEOUT))
}

/// Sets a form as the body of a request.
pub(crate) fn with_form(request: RequestBuilder, form: &[(&str, &str)]) -> RequestBuilder {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body)
}
