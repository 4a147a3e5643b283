//! Configuration: addresses, keys, callers and subscribers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use contracts::upstream::Upstream;
use garde::Validate;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;
use service_kit::config::rules::{self, base_url, http_url, readable_file, require};
use service_kit::config::{CallersConfig, TelemetryConfig};
use service_kit::serve::ConnectionLimits;
use url::Url;

use crate::oauth::SigningKey;

#[derive(Debug, Clone, Deserialize, JsonSchema, Validate)]
pub struct Config {
    #[serde(default)]
    #[garde(dive)]
    pub telemetry: TelemetryConfig,
    #[garde(dive)]
    pub control: ControlConfig,
    /// Limits of the connections of each listener. Durations are in milliseconds.
    #[serde(default)]
    #[garde(dive)]
    pub connections: ConnectionLimits,
    /// Address of the listener of each upstream.
    #[schemars(with = "BTreeMap<String, SocketAddr>")]
    #[garde(
        adapt(rules::entries),
        custom(stand_in_listeners(&self.pass_through)),
        inner(custom(loopback))
    )]
    pub upstreams: BTreeMap<Upstream, SocketAddr>,
    /// Base URLs of real services, to which their listeners forward requests without a fault.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    #[garde(adapt(rules::entries), inner(custom(service_url)))]
    pub pass_through: BTreeMap<Upstream, Url>,
    #[garde(dive)]
    pub callers: CallersConfig,
    #[garde(dive)]
    pub iam: IamConfig,
    /// The issuer of tokens for service accounts, if any.
    #[garde(dive)]
    pub oidc: Option<OidcConfig>,
    #[serde(default)]
    #[garde(dive, custom(can_push(self.oidc.as_ref())))]
    pub events: EventsConfig,
    #[serde(default)]
    #[garde(dive)]
    pub console: ConsoleConfig,
}

/// The control listener, for faults, effects, events and the web console.
#[derive(Debug, Clone, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct ControlConfig {
    /// Address of the listener; must be a loopback address.
    #[schemars(example = &"127.0.0.1:9090")]
    #[garde(custom(loopback))]
    pub listen: SocketAddr,
}

/// The stand-in for iam.
#[derive(Debug, Clone, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct IamConfig {
    /// PKCS#8 PEM, P-256: signs access tokens.
    #[schemars(example = &"/etc/stand-ins/iam.pem")]
    #[garde(custom(signing_key))]
    pub key_file: PathBuf,
    /// `http://<its own address>` when absent.
    #[serde(default)]
    #[garde(inner(custom(base_url)))]
    pub issuer: Option<String>,
    /// Whether the token endpoint requires a DPoP nonce (RFC 9449 section 8).
    #[serde(default)]
    pub dpop_nonces: bool,
    /// Web origins that may call iam; those of the control listener when absent.
    #[serde(default)]
    pub allowed_origins: Option<Vec<String>>,
}

/// The account that pushes events.
pub(crate) const EVENTS_ACCOUNT: &str = "events";

#[derive(Debug, Clone, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct OidcConfig {
    /// PKCS#8 PEM, P-256: signs identity tokens. Not the key of access tokens.
    #[schemars(example = &"/etc/stand-ins/oidc.pem")]
    #[garde(custom(signing_key))]
    pub key_file: PathBuf,
    /// Domain of the accounts' emails.
    #[serde(default = "OidcConfig::default_domain")]
    pub domain: String,
    /// Each account's secret by its name; `operator_a` is `operator-a@<domain>`.
    #[schemars(with = "BTreeMap<String, String>")]
    pub accounts: BTreeMap<String, SecretString>,
}

impl OidcConfig {
    fn default_domain() -> String {
        "demo.melmastoon.example".to_owned()
    }

    /// The email of an account.
    pub fn email(&self, name: &str) -> String {
        format!("{}@{}", name.replace('_', "-"), self.domain)
    }
}

/// Subscribers of the platform's events.
#[derive(Debug, Clone, Deserialize, JsonSchema, Validate)]
#[serde(default, deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct EventsConfig {
    /// By the service's name.
    #[garde(dive)]
    pub subscribers: BTreeMap<String, SubscriberConfig>,
    /// Milliseconds before the second delivery; doubles with each further delivery.
    pub first_retry_ms: u64,
}

impl Default for EventsConfig {
    /// Ten deliveries take 51 s, long enough for a server to restart.
    fn default() -> Self {
        Self { subscribers: BTreeMap::new(), first_retry_ms: 100 }
    }
}

#[derive(Debug, Clone, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct SubscriberConfig {
    /// URL that events are pushed to.
    #[schemars(example = &"http://127.0.0.1:9083/internal/events")]
    #[garde(custom(http_url))]
    pub url: String,
    /// Audience of the identity token sent with each push.
    #[schemars(example = &"http://127.0.0.1:9083")]
    pub audience: String,
}

/// The web console.
#[derive(Debug, Clone, Deserialize, JsonSchema, Validate)]
#[serde(default, deny_unknown_fields)]
pub struct ConsoleConfig {
    /// Base URL of the gateway, without a path.
    #[garde(custom(base_url))]
    pub gateway: String,
}

impl Default for ConsoleConfig {
    fn default() -> Self {
        Self { gateway: "https://localhost:8083".to_owned() }
    }
}

/// The stand-ins return passwords to every caller, so they listen on this machine only.
fn loopback(address: &SocketAddr, _: &()) -> garde::Result {
    require(address.ip().is_loopback(), "is not a loopback address; listen on 127.0.0.1")
}

fn service_url(url: &Url, context: &()) -> garde::Result {
    base_url(url.as_str(), context)
}

/// Requires a file with a key that signs tokens.
fn signing_key(path: &Path, context: &()) -> garde::Result {
    readable_file(path, context)?;
    let key = SigningKey::read(&std::fs::read(path).unwrap_or_default());
    require(key.is_ok(), "the file is not a P-256 key in PKCS#8 and PEM")
}

/// Requires a listener of iam, and none for a service that is real.
fn stand_in_listeners(
    pass_through: &BTreeMap<Upstream, Url>,
) -> impl FnOnce(&BTreeMap<Upstream, SocketAddr>, &()) -> garde::Result + '_ {
    |upstreams, ()| {
        let has_iam = upstreams.contains_key(&Upstream::Iam);
        require(has_iam, "iam has no address; set MELMASTOON_UPSTREAMS__IAM=127.0.0.1:<port>")?;
        let real = [Upstream::Inventory, Upstream::Housekeeping, Upstream::Staff];
        let is_played =
            |name: &&Upstream| upstreams.contains_key(*name) && !pass_through.contains_key(*name);
        let Some(name) = real.iter().find(is_played) else { return Ok(()) };
        let variable = name.to_string().to_uppercase();
        Err(garde::Error::new(format!(
            "{name} has no stand-in; remove MELMASTOON_UPSTREAMS__{variable}, or set MELMASTOON_PASS_THROUGH__{variable} to the URL of the service"
        )))
    }
}

/// Requires the account that pushes events, where there are subscribers.
fn can_push(oidc: Option<&OidcConfig>) -> impl FnOnce(&EventsConfig, &()) -> garde::Result + '_ {
    move |events, ()| {
        let pushes = oidc.is_some_and(|oidc| oidc.accounts.contains_key(EVENTS_ACCOUNT));
        require(
            pushes || events.subscribers.is_empty(),
            "subscribers need the account that pushes; set MELMASTOON_OIDC__ACCOUNTS__EVENTS to a secret",
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_error_names_the_entry_or_the_file() {
        let config: Config = serde_json::from_value(json!({
            "control": {"listen": "127.0.0.1:0"},
            "upstreams": {"iam": "127.0.0.1:0", "lock": "0.0.0.0:0", "staff": "127.0.0.1:0"},
            "pass_through": {"inventory": "ftp://localhost", "housekeeping": "http://localhost/?a"},
            "callers": {"jwks_url": "http://localhost/jwks", "issuer": "bff-backoffice"},
            "iam": {"key_file": concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")},
        }))
        .unwrap();
        let report = config.validate().unwrap_err();
        let mut errors: Vec<_> =
            report.iter().map(|(path, error)| format!("{path}: {error}")).collect();
        errors.sort();
        assert_eq!(
            errors,
            [
                "iam.key_file: the file is not a P-256 key in PKCS#8 and PEM",
                "pass_through.housekeeping: must have neither a query nor a fragment",
                "pass_through.inventory: is not an http or https URL",
                "upstreams.lock: is not a loopback address; listen on 127.0.0.1",
                "upstreams: staff has no stand-in; remove MELMASTOON_UPSTREAMS__STAFF, or set MELMASTOON_PASS_THROUGH__STAFF to the URL of the service",
            ]
        );
    }
}
