//! The widgets in one table: the read each shows and who may see it (gateway-api section 6).

use contracts::role::RoleSet;
use jiff::civil::Date;

use crate::read_policies;
use crate::read_policies::ReadPolicy;

#[derive(Debug)]
pub struct WidgetSpec {
    pub name: &'static str,
    pub policy: &'static ReadPolicy,
    pub(crate) fetch: Fetch,
    /// Which part of the snapshot it shows.
    pub(crate) part: usize,
    /// Roles that may see it; for others it is `forbidden` and not fetched.
    pub roles: RoleSet,
}

impl WidgetSpec {
    /// The name of its source on the wire.
    pub fn source(&self) -> &'static str {
        self.policy.upstream.map_or("bff-backoffice", contracts::upstream::Upstream::name)
    }
}

/// The call that fetches a read's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fetch {
    Availability,
    RateSnapshot,
    HousekeepingSummary,
    RoomStatus,
    MaintenanceSummary,
    /// By default today's; so the next two.
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
/// A widget that shows the whole response.
const fn widget(
    name: &'static str,
    fetch: Fetch,
    policy: &'static ReadPolicy,
    roles: RoleSet,
) -> WidgetSpec {
    WidgetSpec { name, policy, fetch, part: 0, roles }
}

pub static WIDGETS: [WidgetSpec; 17] = [
    WidgetSpec {
        part: 1,
        ..widget("occupancy", Fetch::Availability, &read_policies::AVAILABILITY, RoleSet::ANY)
    },
    widget("availability", Fetch::Availability, &read_policies::AVAILABILITY, RoleSet::RECEPTION),
    widget("rateSnapshot", Fetch::RateSnapshot, &read_policies::RATE_SNAPSHOT, RoleSet::RECEPTION),
    widget(
        "housekeepingSummary",
        Fetch::HousekeepingSummary,
        &read_policies::HOUSEKEEPING_SUMMARY,
        RoleSet::ANY,
    ),
    widget("roomStatus", Fetch::RoomStatus, &read_policies::ROOM_STATUS, RoleSet::ANY),
    widget(
        "maintenanceSummary",
        Fetch::MaintenanceSummary,
        &read_policies::MAINTENANCE_SUMMARY,
        RoleSet::ANY,
    ),
    widget("arrivals", Fetch::Arrivals(TODAY), &read_policies::ARRIVALS, RoleSet::ANY),
    widget("departures", Fetch::Departures(TODAY), &read_policies::DEPARTURES, RoleSet::ANY),
    widget("inHouse", Fetch::InHouse(TODAY), &read_policies::IN_HOUSE, RoleSet::ANY),
    widget("folioSummary", Fetch::FolioSummary, &read_policies::FOLIO_SUMMARY, RoleSet::RECEPTION),
    widget("alerts", Fetch::Alerts, &read_policies::ALERTS, RoleSet::ANY),
    widget(
        "aiSuggestions",
        Fetch::AiSuggestions,
        &read_policies::AI_SUGGESTIONS,
        RoleSet::ANY_MANAGER,
    ),
    widget("kpis", Fetch::Kpis, &read_policies::KPIS, RoleSet::OWNER),
    widget("staffOnDuty", Fetch::StaffOnDuty, &read_policies::STAFF_ON_DUTY, RoleSet::ANY_MANAGER),
    widget(
        "staffingGaps",
        Fetch::StaffingGaps,
        &read_policies::STAFFING_GAPS,
        RoleSet::ANY_MANAGER,
    ),
    widget("syncStatus", Fetch::SyncStatus, &read_policies::SYNC_STATUS, RoleSet::ANY),
    widget("propertyCard", Fetch::PropertyCard, &read_policies::PROPERTY_CARD, RoleSet::ANY),
];

pub(crate) fn by_name(name: &str) -> Option<&'static WidgetSpec> {
    WIDGETS.iter().find(|widget| widget.name == name)
}
