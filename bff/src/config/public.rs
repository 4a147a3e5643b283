use std::net::SocketAddr;
use std::path::PathBuf;

use auth::htu::Htu;
use garde::Validate;
use schemars::JsonSchema;
use serde::Deserialize;
use service_kit::config::rules::{not_empty, readable_file, require, without_query};
use service_kit::serve::ConnectionLimits;
use url::Url;

/// The listener for desktops.
#[derive(Debug, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct PublicConfig {
    /// Address of the listener.
    #[schemars(example = &"0.0.0.0:8083")]
    pub listen: SocketAddr,
    #[serde(default)]
    #[garde(dive)]
    pub connections: ConnectionLimits,
    /// URLs under which desktops reach the gateway; a proof's `htu` is compared with these, never
    /// with `Host`.
    #[schemars(example = ["https://backoffice.hotel.example"])]
    #[garde(custom(not_empty), inner(custom(base_url)))]
    pub base_urls: Vec<String>,
    /// Absent when a load balancer terminates TLS.
    #[garde(dive)]
    pub tls: Option<TlsConfig>,
    /// Allowed browser origins (CORS). The desktop needs none.
    #[serde(default)]
    #[garde(inner(custom(origin)))]
    pub allowed_origins: Vec<String>,
}

/// Certificate and key of the listener, reloaded on change.
#[derive(Debug, Clone, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// PEM; the server's own certificate comes first.
    #[schemars(example = &"/etc/bff/tls.crt")]
    #[garde(custom(readable_file))]
    pub cert_file: PathBuf,
    /// PEM, PKCS#8.
    #[schemars(example = &"/etc/bff/tls.key")]
    #[garde(custom(readable_file))]
    pub key_file: PathBuf,
}

/// Requires the form in which browsers, and web views with a scheme of their own, send an origin.
fn origin(text: &str, _: &()) -> garde::Result {
    let is_origin = Url::parse(text).is_ok_and(|url| {
        let origin = url.origin();
        if origin.is_tuple() {
            return origin.ascii_serialization() == text;
        }
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        url.host_str().is_some_and(|host| format!("{}://{host}{port}", url.scheme()) == text)
    });
    require(is_origin, "is not an origin, such as https://console.hotel.example")
}

/// Requires what a proof's `htu` can be compared with.
fn base_url(url: &str, _: &()) -> garde::Result {
    Htu::parse(url).map_err(garde::Error::new)?;
    without_query(url)
}
