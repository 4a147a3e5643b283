//! The client for small documents of the platform (key sets), always with a time limit.

use std::time::Duration;

/// Makes aws-lc-rs the process's TLS provider. Calling it again does nothing.
pub fn install_crypto_provider() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// # Panics
/// When no TLS provider can be loaded; a program without one cannot work.
pub fn short_requests() -> reqwest::Client {
    install_crypto_provider();
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(2))
        .connect_timeout(Duration::from_secs(1))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy();
    client.build().expect("a client of fixed settings can be built")
}
