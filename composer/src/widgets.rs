//! The widgets, in one table: what each shows of which read, and who may see it
//! (gateway-api section 6).

use contracts::role::{Role, RoleSet};
use jiff::civil::Date;

use crate::rules;
use crate::snapshots::Rule;

/// What decides one widget's fate.
#[derive(Debug)]
pub struct WidgetSpec {
    pub name: &'static str,
    pub rule: &'static Rule,
    pub(crate) question: Question,
    /// Which view of the answer it shows.
    pub(crate) part: usize,
    /// Who may see it; for others it is `forbidden` and not fetched.
    pub roles: RoleSet,
}

impl WidgetSpec {
    /// Where its content comes from, as it is called on the wire.
    pub fn source(&self) -> &'static str {
        self.rule.upstream.map_or("bff-backoffice", contracts::upstream::Upstream::name)
    }
}

/// What is asked to fill it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Question {
    Availability,
    RateSnapshot,
    HousekeepingSummary,
    RoomStatus,
    MaintenanceSummary,
    /// Today's, where no day is named; so the next two.
    Arrivals(Option<Date>),
    Departures(Option<Date>),
    InHouse(Option<Date>),
    FolioSummary,
    Balances,
    LockKeys,
    Alerts,
    AiSuggestions,
    Kpis,
    StaffOnDuty,
    StaffingGaps,
    SyncStatus,
    PropertyCard,
}

const TODAY: Option<Date> = None;
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
pub(crate) const FRONT_OFFICE: RoleSet =
    RoleSet::of(&[Role::TenantAdmin, Role::PropertyGm, Role::FrontDeskManager, Role::FrontDesk]);
/// Who sees the house's earnings.
const OWNERS: RoleSet = RoleSet::of(&[Role::TenantAdmin, Role::PropertyGm]);

/// Shows the whole answer of what its rule reads.
const fn widget(
    name: &'static str,
    question: Question,
    rule: &'static Rule,
    roles: RoleSet,
) -> WidgetSpec {
    WidgetSpec { name, rule, question, part: 0, roles }
}

pub static WIDGETS: [WidgetSpec; 17] = [
    WidgetSpec {
        part: 1,
        ..widget("occupancy", Question::Availability, &rules::AVAILABILITY, ALL)
    },
    widget("availability", Question::Availability, &rules::AVAILABILITY, FRONT_OFFICE),
    widget("rateSnapshot", Question::RateSnapshot, &rules::RATE_SNAPSHOT, FRONT_OFFICE),
    widget("housekeepingSummary", Question::HousekeepingSummary, &rules::HOUSEKEEPING_SUMMARY, ALL),
    widget("roomStatus", Question::RoomStatus, &rules::ROOM_STATUS, ALL),
    widget("maintenanceSummary", Question::MaintenanceSummary, &rules::MAINTENANCE_SUMMARY, ALL),
    widget("arrivals", Question::Arrivals(TODAY), &rules::ARRIVALS, ALL),
    widget("departures", Question::Departures(TODAY), &rules::DEPARTURES, ALL),
    widget("inHouse", Question::InHouse(TODAY), &rules::IN_HOUSE, ALL),
    widget("folioSummary", Question::FolioSummary, &rules::FOLIO_SUMMARY, FRONT_OFFICE),
    widget("alerts", Question::Alerts, &rules::ALERTS, ALL),
    widget("aiSuggestions", Question::AiSuggestions, &rules::AI_SUGGESTIONS, MANAGERS),
    widget("kpis", Question::Kpis, &rules::KPIS, OWNERS),
    widget("staffOnDuty", Question::StaffOnDuty, &rules::STAFF_ON_DUTY, MANAGERS),
    widget("staffingGaps", Question::StaffingGaps, &rules::STAFFING_GAPS, MANAGERS),
    widget("syncStatus", Question::SyncStatus, &rules::SYNC_STATUS, ALL),
    widget("propertyCard", Question::PropertyCard, &rules::PROPERTY_CARD, ALL),
];

pub(crate) fn by_name(name: &str) -> Option<&'static WidgetSpec> {
    WIDGETS.iter().find(|widget| widget.name == name)
}
