use std::path::PathBuf;

use garde::Validate;
use schemars::JsonSchema;
use serde::Deserialize;
use service_kit::config::rules::readable_file;

/// Limits that apply before authentication.
#[derive(Debug, Default, Deserialize, JsonSchema, Validate)]
#[serde(default, deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct EdgeConfig {
    /// Firewall rules (TOML, see `ops/edge-rules.toml`), reloaded on change. Without a file only
    /// the default limit per device applies.
    #[garde(inner(custom(readable_file)))]
    pub rules_file: Option<PathBuf>,
    /// Number of trusted proxies that append to `X-Forwarded-For`. 0: the header is ignored.
    /// Google's load balancer appends two entries: 2.
    pub trusted_proxy_hops: usize,
}
