//! Names of HTTP headers.

pub const REQUEST_ID: &str = "x-request-id";
pub const DEVICE_ID: &str = "x-device-id";
pub const TENANT_ID: &str = "x-tenant-id";
pub const DPOP: &str = "dpop";
pub const DPOP_NONCE: &str = "dpop-nonce";
pub const MFA_ATTESTATION: &str = "x-mfa-attestation";
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// The idempotency key as older desktops send it.
pub const X_IDEMPOTENCY_KEY: &str = "x-idempotency-key";
/// `true` on a replayed response.
pub const IDEMPOTENCY_REPLAYED: &str = "idempotency-replayed";
pub const APP_VERSION: &str = "x-app-version";
pub const APP_PLATFORM: &str = "x-app-platform";
pub const NETWORK_MODE: &str = "x-network-mode";
/// Milliseconds until the deadline when the request is sent.
pub const DEADLINE_MS: &str = "x-deadline-ms";
pub const TRACEPARENT: &str = "traceparent";
