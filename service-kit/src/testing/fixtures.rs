//! Tenants, properties and operators for tests of services.

use auth::Principal;
use contracts::id::{DeviceId, Id, OperatorId, PropertyId, TenantId};
use contracts::role::RoleSet;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

pub const TENANT: &str = "tnt_01K0000000000000000000000A";
/// A property of [`TENANT`].
pub const PROPERTY: &str = "ppt_01K0000000000000000000000A";
pub const OTHER_TENANT: &str = "tnt_01K0000000000000000000000B";
/// A property of [`OTHER_TENANT`].
pub const OTHER_PROPERTY: &str = "ppt_01K0000000000000000000000B";
/// A property that does not exist.
pub const UNKNOWN_PROPERTY: &str = "ppt_01K0000000000000000000000C";

/// An operator of the tenant with every role and these properties in scope.
///
/// # Panics
/// When a text is not an id of its kind.
pub fn operator(tenant: &str, properties: &[&str]) -> Principal {
    let parse = |id: &&str| id.parse::<PropertyId>().expect("a property id");
    Principal {
        tenant: tenant.parse::<TenantId>().expect("a tenant id"),
        operator: OperatorId::from_parts(Timestamp::UNIX_EPOCH, 1),
        device: DeviceId::from_parts(Timestamp::UNIX_EPOCH, 1),
        session: None,
        roles: RoleSet::ANY,
        properties: properties.iter().map(parse).collect(),
        issued_at: Timestamp::UNIX_EPOCH,
        expires_at: Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * 365 * 200),
        thumbprint: None,
        token_digest: Sha256::digest(format!("{tenant} {properties:?}")).into(),
    }
}
