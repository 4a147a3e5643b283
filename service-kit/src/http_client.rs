//! The HTTP client for small documents such as key sets, with a timeout.

use std::time::Duration;

/// Installs aws-lc-rs as the TLS provider of the process. Idempotent.
pub fn install_crypto_provider() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// A client that follows no redirects and times out after two seconds.
///
/// # Panics
/// When no TLS provider can be loaded.
pub fn short_requests() -> reqwest::Client {
    install_crypto_provider();
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(2))
        .connect_timeout(Duration::from_secs(1))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy();
    client.build().expect("a client of fixed settings can be built")
}
