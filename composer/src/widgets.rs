//! The widgets, in one table: where each comes from, who may see it, and how long it may take
//! (gateway-api section 6).

use std::time::Duration;

use contracts::role::{Role, RoleSet};
use contracts::upstream::Upstream;

/// What decides one widget's fate.
#[derive(Debug)]
pub struct WidgetSpec {
    pub name: &'static str,
    pub(crate) kind: Kind,
    pub upstream: Upstream,
    /// Who may see it; for others it is `forbidden` and not fetched.
    pub roles: RoleSet,
    /// After the request was let in.
    pub deadline: Duration,
}

/// Which call fills it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Occupancy,
    Availability,
    RateSnapshot,
    HousekeepingSummary,
    RoomStatus,
    Arrivals,
    Alerts,
    Kpis,
    StaffOnDuty,
}

const ALL: RoleSet = RoleSet::ANY;
/// Who decides about money and people.
const MANAGERS: RoleSet = RoleSet::of(&[
    Role::TenantAdmin,
    Role::PropertyGm,
    Role::FrontDeskManager,
    Role::HousekeepingManager,
    Role::MaintenanceManager,
]);
/// Who deals with guests and rates.
const FRONT_OFFICE: RoleSet =
    RoleSet::of(&[Role::TenantAdmin, Role::PropertyGm, Role::FrontDeskManager, Role::FrontDesk]);
/// Who sees the house's earnings.
const OWNERS: RoleSet = RoleSet::of(&[Role::TenantAdmin, Role::PropertyGm]);

const fn widget(
    name: &'static str,
    kind: Kind,
    upstream: Upstream,
    roles: RoleSet,
    deadline_ms: u64,
) -> WidgetSpec {
    WidgetSpec { name, kind, upstream, roles, deadline: Duration::from_millis(deadline_ms) }
}

pub static WIDGETS: [WidgetSpec; 9] = [
    widget("occupancy", Kind::Occupancy, Upstream::Inventory, ALL, 400),
    widget("availability", Kind::Availability, Upstream::Inventory, FRONT_OFFICE, 400),
    widget("rateSnapshot", Kind::RateSnapshot, Upstream::Pricing, FRONT_OFFICE, 400),
    widget("housekeepingSummary", Kind::HousekeepingSummary, Upstream::Housekeeping, ALL, 400),
    widget("roomStatus", Kind::RoomStatus, Upstream::Housekeeping, ALL, 400),
    widget("arrivals", Kind::Arrivals, Upstream::Reservation, ALL, 450),
    widget("alerts", Kind::Alerts, Upstream::Notification, ALL, 300),
    widget("kpis", Kind::Kpis, Upstream::Analytics, OWNERS, 450),
    widget("staffOnDuty", Kind::StaffOnDuty, Upstream::Staff, MANAGERS, 400),
];

pub(crate) fn by_name(name: &str) -> Option<&'static WidgetSpec> {
    WIDGETS.iter().find(|widget| widget.name == name)
}
