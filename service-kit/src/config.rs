//! Configuration: defaults, then a TOML file when `MELMASTOON_CONFIG` names one, then the
//! environment (`MELMASTOON_` with `__` between levels).

use figment::Figment;
use figment::providers::{Env, Format, Toml};
use serde::Deserialize;
use serde::de::DeserializeOwned;

const PREFIX: &str = "MELMASTOON_";

#[derive(Debug, thiserror::Error)]
#[error(
    "The configuration is not complete: {0}. Set the variable it names (prefix MELMASTOON_, `__` between levels) and start again."
)]
pub struct ConfigError(Box<figment::Error>);

/// Loads the configuration of a program. `T` has the defaults.
pub fn load<T: DeserializeOwned>() -> Result<T, ConfigError> {
    // `MELMASTOON_TEST_*` configures tests, not the servers that they start.
    let environment = Env::prefixed(PREFIX)
        .filter(|key| key != "config" && !key.starts_with("test_"))
        .split("__");
    let mut figment = Figment::new();
    if let Some(file) = Env::var("MELMASTOON_CONFIG") {
        figment = figment.merge(Toml::file_exact(file));
    }
    figment.merge(environment).extract().map_err(|error| ConfigError(Box::new(error)))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Json,
    Text,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetryConfig {
    /// Filter, such as `info,tower_http=debug`.
    pub log: String,
    pub log_format: LogFormat,
    /// Base URL of an OTLP/HTTP collector; traces are exported only when it is set.
    pub otlp_endpoint: Option<String>,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { log: "info".to_owned(), log_format: LogFormat::default(), otlp_endpoint: None }
    }
}

/// The issuer of the request tokens that a service accepts.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallersConfig {
    pub jwks_url: String,
    pub issuer: String,
}

/// The issuer of service accounts' tokens. Google's is `https://accounts.google.com` with keys at
/// `https://www.googleapis.com/oauth2/v3/certs`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcConfig {
    pub issuer: String,
    pub jwks_url: String,
    /// Audience of the tokens: the URL of the listener.
    pub audience: String,
    #[serde(default)]
    pub accounts: AccountsConfig,
}

/// Emails of the accounts that may call each group of routes.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccountsConfig {
    /// `/internal/jobs/*`
    pub scheduler: Vec<String>,
    /// `/internal/events`
    pub events: Vec<String>,
    /// `/internal/admin/*`, the gateway's `/internal/sessions/*`
    pub operators: Vec<String>,
}

/// A Postgres database, reached as the service's own role.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostgresConfig {
    pub url: secrecy::SecretString,
    #[serde(default = "PostgresConfig::default_pool")]
    pub pool: usize,
    /// Timeout of a request for a connection, and of a connection attempt, in milliseconds.
    #[serde(default = "PostgresConfig::default_wait_ms")]
    pub wait_ms: u64,
}

impl PostgresConfig {
    /// Two cores serve 16 queries at once no faster than 8; the others are a reserve for slow ones.
    fn default_pool() -> usize {
        16
    }

    /// The deadline of most of the gateway's reads is 400 to 500 ms.
    fn default_wait_ms() -> u64 {
        400
    }
}

/// When a program creates partitions and deletes expired rows.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MaintenanceConfig {
    /// Interval of checks for missing partitions and for rows in default partitions.
    pub months_every_seconds: u64,
    /// Interval of the deletion of expired rows.
    pub sweep_every_seconds: u64,
    /// Interval after a failed run.
    pub retry_seconds: u64,
    /// Longest random delay before each run, so that instances do not run at the same time.
    pub jitter_seconds: u64,
}

impl Default for MaintenanceConfig {
    fn default() -> Self {
        Self {
            months_every_seconds: 60 * 60,
            sweep_every_seconds: 60 * 60,
            retry_seconds: 5 * 60,
            jitter_seconds: 30,
        }
    }
}
