//! The caller, as every part behind the edge sees it.

use std::sync::Arc;

use contracts::id::{DeviceId, OperatorId, PropertyId, SessionId, TenantId};
use contracts::role::RoleSet;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

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
    /// SHA-256 of that token, or of it and what it was narrowed to: a key for caches, never sent
    /// anywhere.
    pub token_digest: [u8; 32],
}

impl Principal {
    /// Whether the property is in the caller's scope.
    pub fn covers(&self, property: PropertyId) -> bool {
        self.properties.contains(&property)
    }

    /// The same caller with no more than these; nothing is ever added. What was kept for the
    /// token as it stands is not found for the narrower caller.
    #[must_use]
    pub fn narrowed(mut self, roles: RoleSet, properties: &[PropertyId]) -> Self {
        let before = (self.roles, self.properties.len());
        self.roles = self.roles.and(roles);
        self.properties.retain(|property| properties.contains(property));
        if before != (self.roles, self.properties.len()) {
            let mut digest = Sha256::new().chain_update(self.token_digest);
            for role in self.roles.iter() {
                digest.update(role.name());
            }
            for property in &self.properties {
                digest.update(property.as_str());
            }
            self.token_digest = digest.finalize().into();
        }
        self
    }
}
