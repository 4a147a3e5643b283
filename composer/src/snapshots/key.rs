//! What a snapshot is kept under. There is none without a tenant.

use std::fmt;

use contracts::id::{PropertyId, TenantId};

use super::Rule;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    pub tenant: TenantId,
    /// None for what is read by its own id: then the answer says whose it is.
    pub property: Option<PropertyId>,
    read: &'static str,
    of: Box<str>,
}

impl Key {
    /// What `rule` reads of a property.
    pub fn of_property(rule: &Rule, tenant: TenantId, property: PropertyId) -> Self {
        Self { tenant, property: Some(property), read: rule.name, of: Box::default() }
    }

    /// The same, of one day or another part: what the query says.
    #[must_use]
    pub fn narrowed(self, to: impl fmt::Display) -> Self {
        Self { of: to.to_string().into(), ..self }
    }

    /// What `rule` reads by an id.
    pub fn of_id(rule: &Rule, tenant: TenantId, id: impl fmt::Display) -> Self {
        Self { tenant, property: None, read: rule.name, of: id.to_string().into() }
    }
}

/// As it stands in the cache tier.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let property = self.property.as_ref().map_or("-", PropertyId::as_str);
        write!(f, "snapshot:{}:{property}:{}:{}", self.tenant, self.read, self.of)
    }
}
