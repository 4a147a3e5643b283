//! Sessions as the session store holds them: keys, and the claim of a request to a session. Other
//! details of a session are the gateway's and pass through as names and values.

use std::time::Duration;

use contracts::id::{DeviceId, OperatorId, SessionId, TenantId};
use jiff::Timestamp;

use crate::principal::Principal;

/// Lifetime after the last use (platform facts, BackofficeSession).
pub const SESSION_TTL: Duration = Duration::from_secs(12 * 60 * 60);
/// A session's expiry is extended at most this often.
pub(super) const SESSION_TOUCH_INTERVAL: Duration = Duration::from_secs(60);

/// Redis keys of a tenant's sessions. Each contains the tenant.
#[derive(Debug, Clone, Copy)]
pub struct SessionKeys {
    tenant: TenantId,
}

impl SessionKeys {
    pub fn of(tenant: TenantId) -> Self {
        Self { tenant }
    }

    /// A hash: the session's owner, and the details the gateway stores with it.
    pub fn session(self, id: SessionId) -> String {
        format!("{}{id}", self.sessions())
    }

    /// The id of the device's current session.
    pub fn by_device(self, device: DeviceId) -> String {
        format!("{}{device}", self.devices())
    }

    /// Key prefix of the tenant's devices.
    pub fn devices(self) -> String {
        format!("session:by-device:{}:", self.tenant)
    }

    /// Key prefix of the tenant's sessions.
    pub fn sessions(self) -> String {
        format!("session:{}:", self.tenant)
    }
}

/// The session that a request claims to belong to.
#[derive(Debug)]
pub struct SessionClaim<'a> {
    pub tenant: TenantId,
    pub operator: OperatorId,
    pub device: DeviceId,
    /// RFC 7638 thumbprint of the key that signed the proof.
    pub thumbprint: &'a str,
    /// The session id in the token, if any.
    pub named: Option<SessionId>,
    pub issued_at: Timestamp,
    /// The id for a session that must be opened.
    pub new_id: SessionId,
    /// Details to store with it, by name.
    pub details: &'a [(&'static str, &'a str)],
}

impl<'a> SessionClaim<'a> {
    pub fn of(
        principal: &'a Principal,
        new_id: SessionId,
        details: &'a [(&'static str, &'a str)],
    ) -> Self {
        Self {
            tenant: principal.tenant,
            operator: principal.operator,
            device: principal.device,
            thumbprint: principal.thumbprint.as_deref().unwrap_or_default(),
            named: principal.session,
            issued_at: principal.issued_at,
            new_id,
            details,
        }
    }
}

/// A session in the session store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredSession {
    pub id: SessionId,
    pub opened_at: Timestamp,
    /// Whether this request opened it.
    pub is_new: bool,
}
