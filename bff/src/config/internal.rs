use std::net::SocketAddr;

use garde::Validate;
use schemars::JsonSchema;
use serde::Deserialize;
use service_kit::config::OidcConfig;
use service_kit::serve::ConnectionLimits;

/// The listener for metrics, health and jobs.
#[derive(Debug, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct InternalConfig {
    /// Address for metrics, health and jobs; must not be reachable from outside.
    #[schemars(example = &"127.0.0.1:9083")]
    pub listen: SocketAddr,
    #[serde(default)]
    #[garde(dive)]
    pub connections: ConnectionLimits,
    /// Accounts that may call `/internal/*`. Absent: every call is refused.
    #[garde(dive)]
    pub oidc: Option<OidcConfig>,
}
