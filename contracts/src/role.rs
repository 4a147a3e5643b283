//! Roles of operators, named as in the platform's tokens.

use std::fmt;

use serde::{Deserialize, Serialize};
use strum::VariantArray as _;

#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    strum::VariantArray,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
pub enum Role {
    #[serde(rename = "tenant.admin")]
    TenantAdmin,
    #[serde(rename = "property.gm")]
    PropertyGm,
    #[serde(rename = "front_desk.manager")]
    FrontDeskManager,
    #[serde(rename = "front_desk")]
    FrontDesk,
    #[serde(rename = "housekeeping.manager")]
    HousekeepingManager,
    #[serde(rename = "housekeeping")]
    Housekeeping,
    #[serde(rename = "maintenance.manager")]
    MaintenanceManager,
    #[serde(rename = "maintenance")]
    Maintenance,
}

impl Role {
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The name in tokens.
    pub fn name(self) -> &'static str {
        match self {
            Self::TenantAdmin => "tenant.admin",
            Self::PropertyGm => "property.gm",
            Self::FrontDeskManager => "front_desk.manager",
            Self::FrontDesk => "front_desk",
            Self::HousekeepingManager => "housekeeping.manager",
            Self::Housekeeping => "housekeeping",
            Self::MaintenanceManager => "maintenance.manager",
            Self::Maintenance => "maintenance",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|role| role.name() == name)
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// A set of roles. Unknown names are ignored and grant nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct RoleSet(u16);

impl RoleSet {
    pub const ANY: Self = Self::of(Role::ALL);

    /// Front desk: reservations, walk-ins, folios, payments, keys.
    pub const RECEPTION: Self =
        Self::of(&[Role::FrontDesk, Role::FrontDeskManager, Role::PropertyGm, Role::TenantAdmin]);
    /// Refunds and the lock audit.
    pub const CASHIER: Self =
        Self::of(&[Role::FrontDeskManager, Role::PropertyGm, Role::TenantAdmin]);
    /// AI suggestions, staff views, blocks, overrides.
    pub const ANY_MANAGER: Self = Self::of(&[
        Role::FrontDeskManager,
        Role::HousekeepingManager,
        Role::MaintenanceManager,
        Role::PropertyGm,
        Role::TenantAdmin,
    ]);
    /// Housekeeping's supervisors.
    pub const HOUSEKEEPING_SUPERVISOR: Self =
        Self::of(&[Role::HousekeepingManager, Role::PropertyGm, Role::TenantAdmin]);
    /// Earnings.
    pub const OWNER: Self = Self::of(&[Role::PropertyGm, Role::TenantAdmin]);

    pub const fn of(roles: &[Role]) -> Self {
        let (mut bits, mut next) = (0, 0);
        while next < roles.len() {
            bits |= roles[next].bit();
            next += 1;
        }
        Self(bits)
    }

    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self(names.into_iter().filter_map(Role::parse).fold(0, |bits, role| bits | role.bit()))
    }

    pub fn contains(self, role: Role) -> bool {
        self.0 & role.bit() != 0
    }

    pub fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The roles in both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub fn iter(self) -> impl Iterator<Item = Role> {
        Role::ALL.iter().copied().filter(move |role| self.contains(*role))
    }
}

impl fmt::Debug for RoleSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Role::name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_on_the_wire_and_in_tokens_are_the_same() {
        for &role in Role::ALL {
            assert_eq!(serde_json::to_value(role).unwrap(), role.name());
            assert_eq!(Role::parse(role.name()), Some(role));
        }
    }

    #[test]
    fn an_unknown_name_grants_nothing() {
        let roles = RoleSet::from_names(["front_desk", "root"]);
        assert_eq!(roles, RoleSet::of(&[Role::FrontDesk]));
        assert!(!RoleSet::from_names(["root"]).intersects(RoleSet::ANY));
    }
}
