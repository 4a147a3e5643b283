//! Configuration: addresses, keys, callers and subscribers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use contracts::upstream::Upstream;
use secrecy::SecretString;
use serde::Deserialize;
use service_kit::config::{CallersConfig, TelemetryConfig};
use service_kit::serve::ConnectionLimits;
use url::Url;

#[derive(Debug, Clone, Deserialize)]
pub struct Config {
    #[serde(default)]
    pub telemetry: TelemetryConfig,
    pub control: ControlConfig,
    /// Limits of the connections of each listener.
    #[serde(default)]
    pub connections: ConnectionLimits,
    /// Address of the listener of each upstream.
    pub upstreams: BTreeMap<Upstream, SocketAddr>,
    /// Base URLs of real services, to which their listeners forward requests without a fault.
    #[serde(default)]
    pub pass_through: BTreeMap<Upstream, Url>,
    pub callers: CallersConfig,
    pub iam: IamConfig,
    /// The issuer of tokens for service accounts, if any.
    pub oidc: Option<OidcConfig>,
    #[serde(default)]
    pub events: EventsConfig,
    #[serde(default)]
    pub console: ConsoleConfig,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControlConfig {
    pub listen: SocketAddr,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IamConfig {
    /// PKCS#8 PEM, P-256: signs access tokens.
    pub key_file: PathBuf,
    /// `http://<its own address>` when absent.
    #[serde(default)]
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

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcConfig {
    /// PKCS#8 PEM, P-256: signs identity tokens. Not the key of access tokens.
    pub key_file: PathBuf,
    /// Domain of the accounts' emails.
    #[serde(default = "OidcConfig::default_domain")]
    pub domain: String,
    /// Each account's secret by its name; `operator_a` is `operator-a@<domain>`.
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
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EventsConfig {
    /// By the service's name.
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

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubscriberConfig {
    /// `http://…/internal/events`
    pub url: String,
    /// Audience of the identity token sent with each push.
    pub audience: String,
}

/// Configuration of the web console.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsoleConfig {
    /// Base URL of the gateway, without a path.
    pub gateway: String,
}

impl Default for ConsoleConfig {
    fn default() -> Self {
        Self { gateway: "https://localhost:8083".to_owned() }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigProblem {
    #[error(
        "{0} is not a loopback address, and the stand-ins publish passwords. Listen on 127.0.0.1."
    )]
    NotLoopback(SocketAddr),
    #[error(
        "{0} is a real service and has no stand-in. Remove it from MELMASTOON_UPSTREAMS__…, or set MELMASTOON_PASS_THROUGH__… to the address of the service."
    )]
    Real(Upstream),
    #[error("iam has no address. Set MELMASTOON_UPSTREAMS__IAM=127.0.0.1:<port>.")]
    NoIam,
    #[error(
        "Events cannot be pushed without an identity. Set MELMASTOON_OIDC__ACCOUNTS__EVENTS to a secret."
    )]
    NoEventsAccount,
}

impl Config {
    /// Checks what the types cannot.
    pub fn check(&self) -> Result<(), ConfigProblem> {
        let all = self.upstreams.values().chain([&self.control.listen]);
        if let Some(open) = all.copied().find(|address| !address.ip().is_loopback()) {
            return Err(ConfigProblem::NotLoopback(open));
        }
        let real = [Upstream::Inventory, Upstream::Housekeeping, Upstream::Staff];
        let is_played = |name: &Upstream| {
            self.upstreams.contains_key(name) && !self.pass_through.contains_key(name)
        };
        if let Some(real) = real.into_iter().find(is_played) {
            return Err(ConfigProblem::Real(real));
        }
        if !self.upstreams.contains_key(&Upstream::Iam) {
            return Err(ConfigProblem::NoIam);
        }
        let pushes =
            self.oidc.as_ref().is_some_and(|oidc| oidc.accounts.contains_key(EVENTS_ACCOUNT));
        if pushes || self.events.subscribers.is_empty() {
            Ok(())
        } else {
            Err(ConfigProblem::NoEventsAccount)
        }
    }
}
