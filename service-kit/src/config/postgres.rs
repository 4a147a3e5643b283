use garde::Validate;
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::rules::require;

/// A Postgres database, reached as the service's own role.
#[derive(Debug, Clone, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct PostgresConfig {
    /// Connection URL or `key=value` pairs.
    #[schemars(with = "String", example = &"postgres://bff@db.internal/bff", extend("writeOnly" = true))]
    #[garde(custom(postgres_url))]
    pub url: SecretString,
    /// Connections that this process keeps.
    #[serde(default = "PostgresConfig::default_pool")]
    #[garde(range(min = 1))]
    pub pool: usize,
    /// Timeout of a request for a connection, and of a connection attempt, in milliseconds.
    #[serde(default = "PostgresConfig::default_wait_ms")]
    #[garde(range(min = 1))]
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

fn postgres_url(url: &SecretString, _: &()) -> garde::Result {
    let parsed = url.expose_secret().parse::<tokio_postgres::Config>();
    let is_valid = parsed
        .is_ok_and(|config| !config.get_hosts().is_empty() || !config.get_hostaddrs().is_empty());
    require(is_valid, "is not the URL of a Postgres server")
}
