//! Operators who can sign in: one per role and property, each with a device.

use contracts::id::{DeviceId, OperatorId, PreferencesId, PropertyId, TenantId};
use contracts::role::Role;
use data_encoding::BASE32_NOPAD;
use serde::Serialize;

use super::names;
use super::properties::{Property, Tenant};
use super::seed::{self, OPENING_DAY};

/// A person with an account. Neither the password nor the second factor is secret: the launcher prints
/// them.
#[derive(Debug, Clone, Serialize)]
pub struct Operator {
    pub id: OperatorId,
    pub tenant_id: TenantId,
    /// `amina.frontdesk@lapis.example`
    pub username: String,
    pub password: String,
    /// RFC 6238 secret in base32, as authenticator apps take it.
    pub totp_secret: String,
    pub display_name: String,
    /// The operator's device; tokens are issued for it only.
    pub device_id: DeviceId,
    pub preferences_id: PreferencesId,
    pub property_ids: Vec<PropertyId>,
    pub roles: Vec<Role>,
}

const PROPERTY_ROLES: [Role; 7] = [
    Role::PropertyGm,
    Role::FrontDeskManager,
    Role::FrontDesk,
    Role::HousekeepingManager,
    Role::Housekeeping,
    Role::MaintenanceManager,
    Role::Maintenance,
];

pub(super) fn build(tenants: &[Tenant], properties: &[Property]) -> Vec<Operator> {
    let mut operators = Vec::new();
    for tenant in tenants {
        let own: Vec<_> = properties.iter().filter(|p| p.tenant_id == tenant.id).collect();
        let everywhere = own.iter().map(|property| property.id).collect();
        operators.push(operator(tenant, own[0], Role::TenantAdmin, everywhere));
        for property in own {
            let one = |role| operator(tenant, property, role, vec![property.id]);
            operators.extend(PROPERTY_ROLES.map(one));
        }
    }
    operators
}

fn operator(tenant: &Tenant, at: &Property, role: Role, properties: Vec<PropertyId>) -> Operator {
    let label = format!("{}/{}", at.slug, role.name());
    let (given, family) = names::local(at.country, &format!("operator/{label}"));
    // The given name alone may repeat within a tenant; with role and city it cannot.
    let city = if properties.len() == 1 { format!(".{}", at.slug) } else { String::new() };
    let user = format!("{}.{}{city}", given.to_lowercase(), short(role));
    Operator {
        id: seed::id(OPENING_DAY, &label),
        tenant_id: tenant.id,
        username: format!("{user}@{}", tenant.domain),
        password: format!("demo-{}-{}", short(role), at.slug),
        totp_secret: totp_secret(&label),
        display_name: format!("{given} {family}"),
        device_id: seed::id(OPENING_DAY, &label),
        preferences_id: seed::id(OPENING_DAY, &label),
        property_ids: properties,
        roles: vec![role],
    }
}

/// A secret of 160 bits, as RFC 4226 section 4 recommends.
fn totp_secret(label: &str) -> String {
    let bytes = ["a", "b"].map(|half| seed::roll(&format!("totp-{half}/{label}")).to_be_bytes());
    BASE32_NOPAD.encode(&bytes.as_flattened()[..20])
}

fn short(role: Role) -> &'static str {
    match role {
        Role::TenantAdmin => "admin",
        Role::PropertyGm => "gm",
        Role::FrontDeskManager => "frontdesk-lead",
        Role::FrontDesk => "frontdesk",
        Role::HousekeepingManager => "housekeeping-lead",
        Role::Housekeeping => "housekeeping",
        Role::MaintenanceManager => "maintenance-lead",
        Role::Maintenance => "maintenance",
    }
}
