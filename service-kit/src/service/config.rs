//! Settings of a domain service.

use std::net::SocketAddr;

use garde::Validate;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::{
    CallersConfig, MaintenanceConfig, OidcConfig, PostgresConfig, TelemetryConfig,
};
use crate::serve::ConnectionLimits;

/// Settings of one service.
#[derive(Debug, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct ServiceConfig {
    /// Address of the listener: the API, health, metrics and internal routes.
    #[schemars(example = &"0.0.0.0:8084")]
    pub listen: SocketAddr,
    #[serde(default)]
    #[garde(dive)]
    pub connections: ConnectionLimits,
    #[serde(default)]
    #[garde(dive)]
    pub telemetry: TelemetryConfig,
    #[garde(dive)]
    pub postgres: PostgresConfig,
    #[garde(dive)]
    pub callers: CallersConfig,
    #[serde(default)]
    #[garde(dive)]
    pub internal: InternalConfig,
    #[serde(default)]
    #[garde(dive)]
    pub maintenance: MaintenanceConfig,
    /// Safeguards to switch off, by name; a production build does not have this setting.
    #[cfg(feature = "sabotage")]
    #[serde(default)]
    #[schemars(skip)]
    pub guards_off: Vec<contracts::safeguard::Safeguard>,
}

/// Who may call `/internal/*`.
#[derive(Debug, Default, Deserialize, JsonSchema, Validate)]
#[serde(default, deny_unknown_fields)]
pub struct InternalConfig {
    /// Absent: every request is refused.
    #[garde(dive)]
    pub oidc: Option<OidcConfig>,
}
