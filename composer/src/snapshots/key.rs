//! What a snapshot is kept under. There is none without a tenant.

use std::fmt;

use contracts::id::{PropertyId, TenantId};
use jiff::civil::Date;

use super::Rule;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    pub tenant: TenantId,
    /// None for what is read by its own id: then the answer says whose it is.
    pub property: Option<PropertyId>,
    read: &'static str,
    of: Box<str>,
    /// Whether the answer is about "today", so that it ends with the property's day.
    pub(super) ends_with_day: bool,
}

impl Key {
    /// What `rule` reads of a property.
    pub fn of_property(rule: &Rule, tenant: TenantId, property: PropertyId) -> Self {
        let (property, ends_with_day) = (Some(property), rule.is_of_today);
        Self { tenant, property, read: rule.name, of: Box::default(), ends_with_day }
    }

    /// The same, of another part: what the query says. It still ends with the property's day where
    /// the rule's answers do.
    #[must_use]
    pub fn narrowed(self, to: impl fmt::Display) -> Self {
        Self { of: to.to_string().into(), ..self }
    }

    /// The same, of the day that the query names; without one, of today.
    #[must_use]
    pub fn on(self, day: Option<Date>) -> Self {
        day.map_or(self.clone(), |day| self.narrowed(day).of_named_days())
    }

    /// Declares that the query names every day that is shown: the answer outlives midnight.
    #[must_use]
    pub fn of_named_days(self) -> Self {
        Self { ends_with_day: false, ..self }
    }

    /// What `rule` reads by an id.
    pub fn of_id(rule: &Rule, tenant: TenantId, id: impl fmt::Display) -> Self {
        let of = id.to_string().into();
        Self { tenant, property: None, read: rule.name, of, ends_with_day: false }
    }
}

/// As it stands in the cache tier.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let property = self.property.as_ref().map_or("-", PropertyId::as_str);
        write!(f, "snapshot:{}:{property}:{}:{}", self.tenant, self.read, self.of)
    }
}
