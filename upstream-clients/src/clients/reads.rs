//! Routes that read, in two tables. Response types are in `contracts::upstream`.

use contracts::id::{FolioId, LockDeviceId, OperatorId, PropertyId, TenantId};
use contracts::upstream::Upstream;
use contracts::upstream::ai::Suggestions;
use contracts::upstream::analytics::Kpis;
use contracts::upstream::billing::{Balances, BillingSummary, Folio};
use contracts::upstream::housekeeping::{Board, RoomStatuses, Summary};
use contracts::upstream::inventory::{Availability, Calendar};
use contracts::upstream::lock::{LockDevice, LockKeys};
use contracts::upstream::maintenance::{MaintenanceBoard, MaintenanceSummary};
use contracts::upstream::notification::Alerts;
use contracts::upstream::pricing::RateSnapshot;
use contracts::upstream::property::Property;
use contracts::upstream::reservation::Stays;
use contracts::upstream::staff::{Capacity, OnDuty, Shifts, StaffingGaps};
use contracts::upstream::sync::SyncCursors;
use contracts::upstream::tenant::OperatorProfile;
use jiff::civil::Date;
use serde::Serialize;

use super::{CallResult, Upstreams};
use crate::context::CallContext;

/// Nights in `[from, to)`. The upstream chooses what is left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct DateRange {
    pub from: Option<Date>,
    pub to: Option<Date>,
}

/// Declares a function per route whose query names a property: its name, the query's other
/// parameter if there is one, the upstream, the path and the response.
macro_rules! property_reads {
    ($(
        $(#[$doc:meta])*
        $name:ident($($parameter:ident: $type:ty)?): $upstream:ident $path:literal => $response:ty;
    )*) => {
        impl Upstreams {$(
            $(#[$doc])*
            pub async fn $name(
                &self,
                context: &CallContext,
                property: PropertyId,
                $($parameter: $type)?
            ) -> CallResult<$response> {
                let query = (("propertyId", property), $((stringify!($parameter), $parameter))?);
                self.stack(Upstream::$upstream)?.get(context, $path, &query).await
            }
        )*}
    };
}

// A route that takes a day takes today in the property's time zone by default.
property_reads! {
    suggestions(): Ai "/api/v1/ai/suggestions" => Suggestions;
    kpis(): Analytics "/api/v1/analytics/kpis" => Kpis;
    billing_summary(): Billing "/api/v1/billing/summary" => BillingSummary;
    /// The balance of each open folio of the property.
    balances(): Billing "/api/v1/billing/balances" => Balances;
    housekeeping_summary(): Housekeeping "/api/v1/housekeeping/summary" => Summary;
    room_statuses(): Housekeeping "/api/v1/housekeeping/rooms/status" => RoomStatuses;
    housekeeping_board(): Housekeeping "/api/v1/housekeeping/board" => Board;
    /// The property's keys that are valid now or later.
    lock_keys(): Lock "/api/v1/locks/keys" => LockKeys;
    maintenance_summary(): Maintenance "/api/v1/maintenance/summary" => MaintenanceSummary;
    maintenance_board(): Maintenance "/api/v1/maintenance/board" => MaintenanceBoard;
    alerts(): Notification "/api/v1/alerts" => Alerts;
    rate_snapshot(): Pricing "/v1/pricing/rate-snapshot" => RateSnapshot;
    /// Arrivals of the day.
    arrivals(date: Option<Date>): Reservation "/api/v1/reservations/arrivals" => Stays;
    /// Departures of the day.
    departures(date: Option<Date>): Reservation "/api/v1/reservations/departures" => Stays;
    /// Guests in house on the day; by default now.
    in_house(date: Option<Date>): Reservation "/api/v1/reservations/in-house" => Stays;
    on_duty(): Staff "/api/v1/staff/on-duty" => OnDuty;
    capacity(): Staff "/api/v1/staff/capacity" => Capacity;
    /// Shifts that begin on the day.
    shifts(date: Option<Date>): Staff "/api/v1/staff/shifts" => Shifts;
    staffing_gaps(): Staff "/api/v1/staff/forecast/staffing-gaps" => StaffingGaps;
}

/// Declares a function per route whose path contains parameters: its name, its parameters, the
/// upstream, the path, the query and the response.
macro_rules! reads_by_path {
    ($(
        $(#[$doc:meta])*
        $name:ident($($parameter:ident: $type:ty),*):
            $upstream:ident $path:literal, $query:expr => $response:ty;
    )*) => {
        impl Upstreams {$(
            $(#[$doc])*
            pub async fn $name(
                &self,
                context: &CallContext,
                $($parameter: $type),*
            ) -> CallResult<$response> {
                self.stack(Upstream::$upstream)?.get(context, &format!($path), &$query).await
            }
        )*}
    };
}

reads_by_path! {
    folio(folio: FolioId): Billing "/api/v1/folios/{folio}", () => Folio;
    /// Availability by room type and night. Defaults to two weeks from today in the property's time
    /// zone.
    availability(property: PropertyId, nights: DateRange):
        Inventory "/api/v1/inventory/properties/{property}/availability", nights => Availability;
    /// Availability and room assignments by night, for the nights of [`Upstreams::availability`].
    calendar(property: PropertyId, nights: DateRange):
        Inventory "/api/v1/inventory/properties/{property}/calendar", nights => Calendar;
    /// The room and property where a lock is installed.
    lock_device(lock: LockDeviceId): Lock "/api/v1/locks/{lock}", () => LockDevice;
    /// The property's name, address and time zone.
    property(property: PropertyId): Property "/internal/v1/properties/{property}", () => Property;
    /// The sync cursor of each desktop of the property, for the gateway itself and no operator.
    sync_cursors_of(tenant: TenantId, property: PropertyId):
        Sync "/api/v1/sync/tenants/{tenant}/cursors", [("propertyId", property)] => SyncCursors;
    /// The operator's profile in the tenant.
    operator(tenant: TenantId, operator: OperatorId):
        Tenant "/api/v1/tenants/{tenant}/operators/{operator}", () => OperatorProfile;
}
