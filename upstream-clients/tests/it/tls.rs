//! TLS: only upstreams with a trusted certificate for their name are called.

use std::sync::Arc;

use rustls::pki_types::PrivateKeyDer;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;
use upstream_clients::CallError;

use crate::test_server::{
    LIMITS, Reaction, Server, context, ok, stack_at, trusting, trusting_nobody,
};

/// A server's side of TLS with a certificate of its own for `name`, and the trust in it.
pub(crate) fn acceptor(name: &str, protocols: &[&str]) -> (TlsAcceptor, RootCertStore) {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let certificate = made.cert.der().clone();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    (TlsAcceptor::from(Arc::new(config)), roots)
}

async fn server(name: &str) -> (Server, RootCertStore) {
    let (acceptor, roots) = acceptor(name, &["http/1.1"]);
    (Server::start_tls(|_, _| Reaction::Respond(ok("1")), acceptor).await, roots)
}

#[tokio::test]
async fn a_trusted_upstream_is_called_over_one_pooled_connection() {
    let (server, roots) = server("localhost").await;
    let stack = stack_at(server.url.clone(), LIMITS, trusting(roots));
    for _ in 0..3 {
        stack.get::<u8, _>(&context(), "/n", &[("", ""); 0]).await.unwrap();
    }
    assert_eq!((server.seen.connections(), server.seen.requests().len()), (1, 3));
}

#[tokio::test]
async fn without_alpn_http_1_is_used() {
    let (acceptor, roots) = acceptor("localhost", &[]);
    let server = Server::start_tls(|_, _| Reaction::Respond(ok("1")), acceptor).await;
    let stack = stack_at(server.url.clone(), LIMITS, trusting(roots));
    stack.get::<u8, _>(&context(), "/n", &[("", ""); 0]).await.unwrap();
    assert!(server.seen.requests()[0].starts_with("GET /n HTTP/1.1\r\n"));
}

#[tokio::test]
async fn nothing_is_sent_to_an_untrusted_or_misnamed_upstream() {
    let (stranger, _) = server("localhost").await;
    let (misnamed, roots) = server("elsewhere.test").await;
    for (server, trust) in [(stranger, trusting_nobody()), (misnamed, trusting(roots))] {
        let stack = stack_at(server.url.clone(), LIMITS, trust);
        let error = stack.get::<u8, _>(&context(), "/n", &[("", ""); 0]).await.unwrap_err();
        assert!(matches!(error, CallError::Unavailable(_)), "{error:?}");
        assert!(server.seen.requests().is_empty());
    }
}
