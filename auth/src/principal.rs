//! The authenticated caller.

use std::sync::Arc;

use contracts::id::{DeviceId, OperatorId, PropertyId, SessionId, TenantId};
use contracts::role::RoleSet;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

/// An authenticated operator at a device. Only this crate's verifiers create one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    pub tenant: TenantId,
    pub operator: OperatorId,
    pub device: DeviceId,
    /// iam's session, if the token names one.
    pub session: Option<SessionId>,
    pub roles: RoleSet,
    pub properties: Vec<PropertyId>,
    /// When the token was issued, to the second.
    pub issued_at: Timestamp,
    /// When the token expires.
    pub expires_at: Timestamp,
    /// RFC 7638 thumbprint of the device key that the token is bound to. Not sent to services.
    pub thumbprint: Option<Arc<str>>,
    /// SHA-256 of the token and of any narrowing: a cache key, never sent anywhere.
    pub token_digest: [u8; 32],
}

impl Principal {
    /// Whether the property is in the caller's scope.
    pub fn covers(&self, property: PropertyId) -> bool {
        self.properties.contains(&property)
    }

    /// Restricts the caller to these roles and properties; adds none. Changes the cache key.
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
