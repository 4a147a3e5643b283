//! A request's session, as the session tier is asked about it: whose it must be and where it
//! stands. What else a session holds is the gateway's affair and passes through as names and values.

use std::time::Duration;

use contracts::id::{DeviceId, OperatorId, SessionId, TenantId};
use jiff::Timestamp;

use crate::principal::Principal;

/// How long a session lives after its last use (platform facts, BackofficeSession).
pub const SESSION_LASTS: Duration = Duration::from_secs(12 * 60 * 60);
/// A session used more often than this is not written each time.
pub(super) const SLIDES_EVERY: Duration = Duration::from_secs(60);

/// Where sessions stand in the tier. Every key begins with the tenant's part.
#[derive(Debug, Clone, Copy)]
pub struct SessionKeys {
    tenant: TenantId,
}

impl SessionKeys {
    pub fn of(tenant: TenantId) -> Self {
        Self { tenant }
    }

    /// A hash: whose the session is, and what the gateway keeps with it.
    pub fn session(self, id: SessionId) -> String {
        format!("{}{id}", self.sessions())
    }

    /// The id of the session a device has now.
    pub fn by_device(self, device: DeviceId) -> String {
        format!("{}{device}", self.devices())
    }

    /// What the names of the tenant's devices start with.
    pub fn devices(self) -> String {
        format!("session:by-device:{}:", self.tenant)
    }

    /// What the names of the tenant's sessions start with.
    pub fn sessions(self) -> String {
        format!("session:{}:", self.tenant)
    }
}

/// The session a request says it belongs to.
#[derive(Debug)]
pub struct SessionClaim<'a> {
    pub tenant: TenantId,
    pub operator: OperatorId,
    pub device: DeviceId,
    /// Of the key that made the proof (RFC 7638).
    pub thumbprint: &'a str,
    /// Where the token names one.
    pub named: Option<SessionId>,
    pub issued_at: Timestamp,
    /// The id of the session to open when there is none.
    pub fresh: SessionId,
    /// What the gateway keeps with it, by name.
    pub details: &'a [(&'static str, &'a str)],
}

impl<'a> SessionClaim<'a> {
    pub fn of(
        principal: &'a Principal,
        fresh: SessionId,
        details: &'a [(&'static str, &'a str)],
    ) -> Self {
        Self {
            tenant: principal.tenant,
            operator: principal.operator,
            device: principal.device,
            thumbprint: principal.thumbprint.as_deref().unwrap_or_default(),
            named: principal.session,
            issued_at: principal.issued_at,
            fresh,
            details,
        }
    }
}

/// A session as the tier has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldSession {
    pub id: SessionId,
    pub opened_at: Timestamp,
    /// By this request.
    pub is_new: bool,
}
