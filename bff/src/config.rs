//! The gateway's settings, one file per section. Each field is one environment variable,
//! `MELMASTOON_` and `__` between levels, with its default, its reason and its rules beside it.

use garde::Validate;
use schemars::JsonSchema;
use serde::Deserialize;
use service_kit::config::rules::{self, require};
use service_kit::config::{MaintenanceConfig, PostgresConfig, TelemetryConfig};
use upstream_clients::BaseUrls;

mod dashboard;
mod dpop;
mod edge;
mod iam;
mod internal;
mod lock_audit;
mod mfa;
mod public;
mod redis;
mod request_token;
mod upstreams;

pub(crate) use dashboard::DashboardConfig;
pub(crate) use dpop::DpopConfig;
pub(crate) use edge::EdgeConfig;
pub(crate) use iam::IamConfig;
pub(crate) use internal::InternalConfig;
pub(crate) use lock_audit::LockAuditConfig;
pub(crate) use mfa::{ATTESTATION_LIFETIME, MfaConfig};
pub(crate) use public::{PublicConfig, TlsConfig};
pub(crate) use redis::RedisConfig;
pub(crate) use request_token::{REQUEST_TOKEN_ISSUER, RequestTokenConfig};

#[derive(Debug, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct GatewayConfig {
    #[garde(dive)]
    pub public: PublicConfig,
    #[garde(dive, custom(separate_listener(&self.public)))]
    pub internal: InternalConfig,
    #[serde(default)]
    #[garde(dive)]
    pub edge: EdgeConfig,
    #[garde(dive)]
    pub iam: IamConfig,
    #[garde(dive)]
    pub postgres: PostgresConfig,
    #[garde(dive)]
    pub redis: RedisConfig,
    #[garde(dive)]
    pub request_token: RequestTokenConfig,
    #[serde(default)]
    #[garde(dive)]
    pub dpop: DpopConfig,
    #[serde(default)]
    #[garde(dive)]
    pub mfa: MfaConfig,
    #[serde(default)]
    #[garde(dive)]
    pub lock_audit: LockAuditConfig,
    #[serde(default)]
    #[garde(dive)]
    pub dashboard: DashboardConfig,
    #[serde(default)]
    #[garde(dive)]
    pub maintenance: MaintenanceConfig,
    #[serde(default)]
    #[garde(dive)]
    pub telemetry: TelemetryConfig,
    /// Base URL of each upstream by its name; an upstream without one is unavailable. `h2c://` is
    /// HTTP/2 over cleartext; over `https` both sides agree on the version.
    #[schemars(with = "std::collections::BTreeMap<String, String>")]
    #[garde(adapt(rules::entries), inner(custom(upstreams::base_url)))]
    pub upstreams: BaseUrls,
    /// Safeguards to switch off, by name; a production build does not have this setting.
    #[cfg(feature = "sabotage")]
    #[serde(default)]
    #[schemars(skip)]
    pub guards_off: Vec<contracts::safeguard::Safeguard>,
}

/// Requires that both listeners can be opened. On port 0 each gets its own port.
fn separate_listener(
    public: &PublicConfig,
) -> impl FnOnce(&InternalConfig, &()) -> garde::Result + '_ {
    |internal, ()| {
        let is_separate = internal.listen != public.listen || public.listen.port() == 0;
        require(is_separate, "its LISTEN must differ from MELMASTOON_PUBLIC__LISTEN")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A production build does not have the setting at all.
    #[test]
    fn an_unknown_safeguard_is_refused() {
        let settings = serde_json::json!({"guards_off": ["authentication", "authorisation"]});
        let refused = serde_json::from_value::<GatewayConfig>(settings).unwrap_err().to_string();
        let expected = if cfg!(feature = "sabotage") {
            "There is no safeguard named `authorisation`."
        } else {
            "unknown field `guards_off`"
        };
        assert!(refused.starts_with(expected), "{refused}");
    }
}
