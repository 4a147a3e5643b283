//! Cache keys. None exists without a tenant.

use std::borrow::Cow;
use std::fmt;

use contracts::id::{PropertyId, TenantId};
use contracts::safeguard;
use jiff::civil::Date;

use crate::read_policy::ReadPolicy;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    pub tenant: TenantId,
    /// `None` for a read by id; then the response names the property.
    pub property: Option<PropertyId>,
    read: &'static str,
    of: Box<str>,
    /// Whether the response is about "today" and expires at the property's midnight.
    pub(super) ends_with_day: bool,
}

impl Key {
    /// A read of a property.
    pub fn of_property(policy: &ReadPolicy, tenant: TenantId, property: PropertyId) -> Self {
        let (property, ends_with_day) = (Some(property), policy.is_of_today);
        Self { tenant, property, read: policy.name, of: Box::default(), ends_with_day }
    }

    /// Adds the query's other parameters. Does not change whether the response expires at midnight.
    #[must_use]
    pub fn narrowed(self, to: impl fmt::Display) -> Self {
        Self { of: to.to_string().into(), ..self }
    }

    /// Adds the day of the query; `None` means today.
    #[must_use]
    pub fn on(self, day: Option<Date>) -> Self {
        match day {
            Some(day) => self.narrowed(day).of_named_days(),
            None => self,
        }
    }

    /// Declares that the query names every day it returns, so the response outlives midnight.
    #[must_use]
    pub fn of_named_days(self) -> Self {
        Self { ends_with_day: false, ..self }
    }

    /// The form in which this process keeps it.
    pub(super) fn kept(&self) -> Cow<'_, Self> {
        let tenant = kept_under(self.tenant);
        if tenant == self.tenant {
            return Cow::Borrowed(self);
        }
        Cow::Owned(Self { tenant, ..self.clone() })
    }

    /// A read by id.
    pub fn of_id(policy: &ReadPolicy, tenant: TenantId, id: impl fmt::Display) -> Self {
        let of = id.to_string().into();
        Self { tenant, property: None, read: policy.name, of, ends_with_day: false }
    }
}

fn kept_under(tenant: TenantId) -> TenantId {
    if safeguard!(TenantKeys) { tenant } else { TenantId::platform() }
}

/// The form in the cache store.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let property = self.property.as_ref().map_or("-", PropertyId::as_str);
        write!(f, "snapshot:{}:{property}:{}:{}", kept_under(self.tenant), self.read, self.of)
    }
}
