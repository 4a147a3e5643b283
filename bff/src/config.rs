//! The gateway's settings. Each field is one environment variable, `MELMASTOON_` and `__` between
//! levels; defaults are defined here, with their reason.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use composer::compose::{Deadlines, ROUTE_DEADLINE};
use contracts::id::TenantId;
use contracts::upstream::Upstream;
use jiff::SignedDuration;
use serde::Deserialize;
use service_kit::config::{MaintenanceConfig, OidcConfig, PostgresConfig, TelemetryConfig};
use service_kit::serve::ConnectionLimits;
use upstream_clients::BaseUrls;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewayConfig {
    pub public: PublicConfig,
    pub internal: InternalConfig,
    #[serde(default)]
    pub edge: EdgeConfig,
    pub iam: IamConfig,
    pub postgres: PostgresConfig,
    pub redis: RedisConfig,
    pub request_token: RequestTokenConfig,
    #[serde(default)]
    pub dpop: DpopConfig,
    #[serde(default)]
    pub mfa: MfaConfig,
    #[serde(default)]
    pub dashboard: DashboardConfig,
    #[serde(default)]
    pub maintenance: MaintenanceConfig,
    #[serde(default)]
    pub telemetry: TelemetryConfig,
    /// Base URL of each upstream by its name; an upstream without one is unavailable. `h2c://` is
    /// HTTP/2 over cleartext; over `https` both sides agree on the version.
    pub upstreams: BaseUrls,
    /// Safeguards to switch off, by name; a production build does not have this setting.
    #[cfg(feature = "sabotage")]
    #[serde(default)]
    pub guards_off: Vec<contracts::safeguard::Safeguard>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublicConfig {
    pub listen: SocketAddr,
    /// Connection limits.
    #[serde(default)]
    pub connections: ConnectionLimits,
    /// URLs under which desktops reach the gateway; a proof's `htu` is compared with these, never
    /// with `Host`.
    pub base_urls: Vec<String>,
    /// Absent when a load balancer terminates TLS.
    pub tls: Option<TlsConfig>,
    /// Allowed browser origins (CORS). The desktop needs none.
    #[serde(default)]
    pub allowed_origins: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// PEM; the server's own certificate comes first.
    pub cert_file: PathBuf,
    /// PEM, PKCS#8.
    pub key_file: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InternalConfig {
    /// Address for metrics, health and jobs; must not be reachable from outside.
    pub listen: SocketAddr,
    /// Connection limits.
    #[serde(default)]
    pub connections: ConnectionLimits,
    /// Accounts that may call `/internal/*`. Absent: every call is refused.
    pub oidc: Option<OidcConfig>,
}

/// Limits that apply before authentication.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EdgeConfig {
    /// Firewall rules (TOML, see `ops/edge-rules.toml`), reloaded on change. Without a file only
    /// the default limit per device applies.
    pub rules_file: Option<PathBuf>,
    /// Number of trusted proxies that append to `X-Forwarded-For`. 0 (default): the header is
    /// ignored. Google's load balancer appends two entries: 2.
    pub trusted_proxy_hops: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IamConfig {
    pub issuer: String,
    pub jwks_url: String,
    #[serde(default = "IamConfig::default_audience")]
    pub audience: String,
}

impl IamConfig {
    fn default_audience() -> String {
        "bff-backoffice".to_owned()
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedisConfig {
    /// Sessions, used proofs, pub/sub. Must not evict.
    pub session_url: secrecy::SecretString,
    /// Cached reads. May evict.
    pub cache_url: secrecy::SecretString,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestTokenConfig {
    /// PEM, PKCS#8, P-256. Signs the request tokens that identify the caller to the services.
    pub key_file: PathBuf,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DpopConfig {
    /// Whether a proof must carry a server-provided nonce (RFC 9449 section 9). Off: `iat` is
    /// checked instead.
    pub nonces: bool,
    /// File with at least 32 random bytes, the same on every instance. Absent: generated at start.
    pub nonce_key_file: Option<PathBuf>,
}

/// Time from the issue of an attestation to its expiry.
pub const ATTESTATION_LIFETIME: SignedDuration = SignedDuration::from_mins(5);

/// When wrong codes lock an operator's second factor.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MfaConfig {
    /// Wrong codes within the window that lock an operator's second factor. Default 5, of a million
    /// possible codes.
    pub wrong_codes: NonZeroU32,
    /// Seconds a wrong code counts. Default 900. Not shorter than iam's own window, else iam locks
    /// for longer.
    pub window_s: u64,
}

impl Default for MfaConfig {
    fn default() -> Self {
        Self { wrong_codes: const { NonZeroU32::new(5).unwrap() }, window_s: 15 * 60 }
    }
}

/// When wrong codes lock an operator's second factor.
#[derive(Debug, Clone, Copy)]
pub struct Lockout {
    /// Wrong codes that lock the factor.
    pub wrong_codes: u32,
    /// How long each wrong code counts.
    pub window: Duration,
}

impl MfaConfig {
    pub fn lockout(&self) -> Lockout {
        let window = Duration::from_secs(self.window_s.max(1));
        Lockout { wrong_codes: self.wrong_codes.get(), window }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DashboardConfig {
    /// Deadline of the route, counted from the request's first byte.
    pub deadline_ms: u64,
    /// Overrides of `deadline_ms` per tenant.
    pub tenant_deadlines_ms: BTreeMap<TenantId, u64>,
    /// Whether upstream responses are cached, by the policies in `composer`. False only for
    /// measurements and drills: every read is then a cache miss.
    pub keep: bool,
}

impl Default for DashboardConfig {
    fn default() -> Self {
        let deadline_ms = ROUTE_DEADLINE.as_millis() as u64;
        Self { deadline_ms, tenant_deadlines_ms: BTreeMap::new(), keep: true }
    }
}

impl DashboardConfig {
    pub fn deadlines(&self) -> Deadlines {
        let by_tenant = self.tenant_deadlines_ms.iter();
        Deadlines {
            default: Duration::from_millis(self.deadline_ms),
            by_tenant: by_tenant
                .map(|(tenant, ms)| (*tenant, Duration::from_millis(*ms)))
                .collect(),
        }
    }
}

/// `iss` of the request tokens.
pub const REQUEST_TOKEN_ISSUER: &str = "bff-backoffice";

/// Upstreams that this version calls; a missing address is logged at start.
pub const REQUIRED_UPSTREAMS: [Upstream; 15] = [
    Upstream::Iam,
    Upstream::Inventory,
    Upstream::Housekeeping,
    Upstream::Staff,
    Upstream::Reservation,
    Upstream::Billing,
    Upstream::Lock,
    Upstream::Pricing,
    Upstream::Notification,
    Upstream::Analytics,
    Upstream::Tenant,
    Upstream::Maintenance,
    Upstream::Ai,
    Upstream::Property,
    Upstream::Sync,
];

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
