//! What the program is told: addresses, keys, and who may call.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use contracts::upstream::Upstream;
use serde::Deserialize;
use service_kit::config::{CallersConfig, TelemetryConfig};

#[derive(Debug, Clone, Deserialize)]
pub struct Config {
    #[serde(default)]
    pub telemetry: TelemetryConfig,
    pub control: ControlConfig,
    /// One listener for each upstream that is stood in for.
    pub upstreams: BTreeMap<Upstream, SocketAddr>,
    pub callers: CallersConfig,
    pub iam: IamConfig,
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
    /// Whether the token endpoint asks for a nonce of its own (RFC 9449 section 8).
    #[serde(default)]
    pub dpop_nonces: bool,
    /// Web origins that may call it; those of the control listener when absent.
    #[serde(default)]
    pub allowed_origins: Option<Vec<String>>,
}

/// What the web console is told.
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
    #[error("{0} is a real service and has no stand-in. Take it out of MELMASTOON_UPSTREAMS__…")]
    Real(Upstream),
    #[error("iam has no address. Set MELMASTOON_UPSTREAMS__IAM=127.0.0.1:<port>.")]
    NoIam,
}

impl Config {
    /// What the types alone cannot rule out.
    pub fn check(&self) -> Result<(), ConfigProblem> {
        let all = self.upstreams.values().chain([&self.control.listen]);
        if let Some(open) = all.copied().find(|address| !address.ip().is_loopback()) {
            return Err(ConfigProblem::NotLoopback(open));
        }
        let real = [Upstream::Inventory, Upstream::Housekeeping, Upstream::Staff];
        if let Some(real) = real.into_iter().find(|name| self.upstreams.contains_key(name)) {
            return Err(ConfigProblem::Real(real));
        }
        if self.upstreams.contains_key(&Upstream::Iam) { Ok(()) } else { Err(ConfigProblem::NoIam) }
    }
}
