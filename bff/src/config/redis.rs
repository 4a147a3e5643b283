use garde::Validate;
use redis::IntoConnectionInfo;
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use service_kit::config::rules::require;

/// The two Redis tiers.
#[derive(Debug, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct RedisConfig {
    /// Sessions, used proofs, pub/sub. Must not evict.
    #[schemars(with = "String", example = &"redis://session.internal:6379", extend("writeOnly" = true))]
    #[garde(custom(redis_url))]
    pub session_url: SecretString,
    /// Cached reads. May evict.
    #[schemars(with = "String", example = &"redis://cache.internal:6379", extend("writeOnly" = true))]
    #[garde(custom(redis_url))]
    pub cache_url: SecretString,
}

fn redis_url(url: &SecretString, _: &()) -> garde::Result {
    require(url.expose_secret().into_connection_info().is_ok(), "is not a Redis URL")
}
