//! The caller, as every part behind the edge sees it.

use std::sync::Arc;

use contracts::id::{DeviceId, OperatorId, PropertyId, SessionId, TenantId};
use contracts::role::RoleSet;
use jiff::Timestamp;

/// An authenticated operator at a device. Only this crate's verifiers make one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    pub tenant: TenantId,
    pub operator: OperatorId,
    pub device: DeviceId,
    /// iam's session, where the token names one.
    pub session: Option<SessionId>,
    pub roles: RoleSet,
    pub properties: Vec<PropertyId>,
    /// When the token it came from was issued, to the second.
    pub issued_at: Timestamp,
    /// When the token it came from ends.
    pub expires_at: Timestamp,
    /// RFC 7638 thumbprint of the device's key, which that token is bound to. Services are not told.
    pub thumbprint: Option<Arc<str>>,
    /// SHA-256 of that token: a key for caches, never sent anywhere.
    pub token_digest: [u8; 32],
}

impl Principal {
    /// Whether the property is in the token's scope.
    pub fn covers(&self, property: PropertyId) -> bool {
        self.properties.contains(&property)
    }
}
