//! The widgets in one table: what each shows, who may see it, and how it is read (gateway-api
//! section 6). Its reads also serve the handlers and the workbench.

use contracts::role::RoleSet;
use contracts::upstream::Upstream;
use futures_util::FutureExt;
use upstream_clients::DateRange;

use crate::arrivals::arrivals;
use crate::availability::{OCCUPANCY_PART, availability};
use crate::property_read::{PropertyCall, PropertyRead, fetch};
use crate::read_policy::ReadPolicy;

#[derive(Debug)]
pub struct WidgetSpec {
    pub name: &'static str,
    /// Roles that may see it; for others it is `forbidden` and not fetched.
    pub roles: RoleSet,
    /// A widget that shows part of another's read has the same one.
    pub read: PropertyRead,
    /// Whether a dashboard is not partial without it (F-11).
    pub is_optional: bool,
    /// Which part of the snapshot it shows.
    pub(crate) part: usize,
}

impl WidgetSpec {
    /// The name of its source on the wire.
    pub fn source(&self) -> &'static str {
        self.read.policy.upstream.map_or("bff-backoffice", Upstream::name)
    }
}

/// A widget that shows the whole response, under the name of the read.
const fn widget(roles: RoleSet, policy: ReadPolicy, call: PropertyCall) -> WidgetSpec {
    WidgetSpec {
        name: policy.name,
        roles,
        read: PropertyRead { policy, call },
        is_optional: false,
        part: 0,
    }
}

/// The upstream's default: two weeks from today in the property's time zone.
const NEXT_FORTNIGHT: DateRange = DateRange { from: None, to: None };

macro_rules! widgets {
    ($($(#[$doc:meta])* $id:ident = $widget:expr;)*) => {
        $($(#[$doc])* pub static $id: WidgetSpec = $widget;)*

        pub static WIDGETS: &[&WidgetSpec] = &[$(&$id),*];
    };
}

// One per widget: its roles; its policy, with the deadline in milliseconds; its call.
widgets! {
    OCCUPANCY = WidgetSpec {
        name: "occupancy", roles: RoleSet::ANY, part: OCCUPANCY_PART, ..AVAILABILITY
    };
    AVAILABILITY = widget(
        RoleSet::RECEPTION,
        ReadPolicy::new("availability", Upstream::Inventory, 400)
            .fresh_secs(15).stale_secs(600).of_today(),
        |to| availability(to.upstreams, to.context, to.property, NEXT_FORTNIGHT).boxed(),
    );
    RATE_SNAPSHOT = widget(
        RoleSet::RECEPTION,
        ReadPolicy::new("rateSnapshot", Upstream::Pricing, 400)
            .fresh_secs(60).stale_secs(1800).of_today(),
        |to| fetch(async move { to.upstreams.rate_snapshot(&to.context, to.property).await }),
    );
    HOUSEKEEPING_SUMMARY = widget(
        RoleSet::ANY,
        ReadPolicy::new("housekeepingSummary", Upstream::Housekeeping, 400)
            .fresh_secs(10).stale_secs(300).of_today(),
        |to| fetch(async move {
            to.upstreams.housekeeping_summary(&to.context, to.property).await
        }),
    );
    ROOM_STATUS = widget(
        RoleSet::ANY,
        ReadPolicy::new("roomStatus", Upstream::Housekeeping, 400).fresh_secs(10).stale_secs(300),
        |to| fetch(async move { to.upstreams.room_statuses(&to.context, to.property).await }),
    );
    MAINTENANCE_SUMMARY = widget(
        RoleSet::ANY,
        ReadPolicy::new("maintenanceSummary", Upstream::Maintenance, 400)
            .fresh_secs(30).stale_secs(600).of_today(),
        |to| fetch(async move { to.upstreams.maintenance_summary(&to.context, to.property).await }),
    );
    ARRIVALS = widget(
        RoleSet::ANY,
        ReadPolicy::new("arrivals", Upstream::Reservation, 450)
            .fresh_secs(10).stale_secs(300).of_today(),
        |to| fetch(async move {
            let stays = to.upstreams.arrivals(&to.context, to.property, to.day).await?;
            Ok(arrivals(&stays))
        }),
    );
    DEPARTURES = widget(
        RoleSet::ANY,
        ReadPolicy::new("departures", Upstream::Reservation, 450)
            .fresh_secs(10).stale_secs(300).of_today(),
        |to| fetch(async move { to.upstreams.departures(&to.context, to.property, to.day).await }),
    );
    IN_HOUSE = widget(
        RoleSet::ANY,
        ReadPolicy::new("inHouse", Upstream::Reservation, 450)
            .fresh_secs(10).stale_secs(300).of_today(),
        |to| fetch(async move { to.upstreams.in_house(&to.context, to.property, to.day).await }),
    );
    FOLIO_SUMMARY = widget(
        RoleSet::RECEPTION,
        ReadPolicy::new("folioSummary", Upstream::Billing, 400)
            .fresh_secs(30).stale_secs(600).of_today(),
        |to| fetch(async move { to.upstreams.billing_summary(&to.context, to.property).await }),
    );
    ALERTS = widget(
        RoleSet::ANY,
        ReadPolicy::new("alerts", Upstream::Notification, 300).fresh_secs(5).stale_secs(300),
        |to| fetch(async move { to.upstreams.alerts(&to.context, to.property).await }),
    );
    /// Never shown stale.
    AI_SUGGESTIONS = WidgetSpec {
        is_optional: true,
        ..widget(
            RoleSet::ANY_MANAGER,
            ReadPolicy::new("aiSuggestions", Upstream::Ai, 500).fresh_secs(60),
            |to| fetch(async move { to.upstreams.suggestions(&to.context, to.property).await }),
        )
    };
    KPIS = widget(
        RoleSet::OWNER,
        ReadPolicy::new("kpis", Upstream::Analytics, 450)
            .fresh_secs(60).stale_secs(3600).of_today(),
        |to| fetch(async move { to.upstreams.kpis(&to.context, to.property).await }),
    );
    STAFF_ON_DUTY = widget(
        RoleSet::ANY_MANAGER,
        ReadPolicy::new("staffOnDuty", Upstream::Staff, 400).fresh_secs(30).stale_secs(300),
        |to| fetch(async move { to.upstreams.on_duty(&to.context, to.property).await }),
    );
    STAFFING_GAPS = widget(
        RoleSet::ANY_MANAGER,
        ReadPolicy::new("staffingGaps", Upstream::Staff, 500)
            .fresh_secs(60).stale_secs(1800).of_today(),
        |to| fetch(async move { to.upstreams.staffing_gaps(&to.context, to.property).await }),
    );
    /// From the gateway's own store: never cached, because reading it costs as little.
    SYNC_STATUS = widget(
        RoleSet::ANY,
        ReadPolicy::of_gateway("syncStatus", 100),
        |to| to.local.sync_status(&to.context, to.property),
    );
    PROPERTY_CARD = widget(
        RoleSet::ANY,
        ReadPolicy::new("propertyCard", Upstream::Property, 300)
            .fresh_secs(300).stale_secs(24 * 3600),
        |to| fetch(async move { to.upstreams.property(&to.context, to.property).await }),
    );
}

pub(crate) fn by_name(name: &str) -> Option<&'static WidgetSpec> {
    WIDGETS.iter().copied().find(|widget| widget.name == name)
}
