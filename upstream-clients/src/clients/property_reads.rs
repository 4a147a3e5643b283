//! Routes that read something of a property, by day or without other parameters, in two tables.
//! Response types are in `contracts::upstream`.

use contracts::id::PropertyId;
use contracts::upstream::Upstream;
use contracts::upstream::ai::Suggestions;
use contracts::upstream::analytics::Kpis;
use contracts::upstream::billing::{Balances, BillingSummary};
use contracts::upstream::housekeeping::{Board, RoomStatuses, Summary};
use contracts::upstream::lock::LockKeys;
use contracts::upstream::maintenance::{MaintenanceBoard, MaintenanceSummary};
use contracts::upstream::notification::Alerts;
use contracts::upstream::pricing::RateSnapshot;
use contracts::upstream::reservation::Stays;
use contracts::upstream::staff::{Capacity, OnDuty, Shifts, StaffingGaps};
use jiff::civil::Date;

use super::{CallResult, Upstreams};
use crate::context::CallContext;

/// Declares a function per route: its name, the upstream, the path and the response.
macro_rules! property_reads {
    ($($(#[$doc:meta])* $name:ident: $upstream:ident $path:literal => $response:ty;)*) => {
        impl Upstreams {$(
            $(#[$doc])*
            pub async fn $name(
                &self,
                context: &CallContext,
                property: PropertyId,
            ) -> CallResult<$response> {
                let query = [("propertyId", property)];
                self.stack(Upstream::$upstream)?.get(context, $path, &query).await
            }
        )*}
    };
}

property_reads! {
    suggestions: Ai "/api/v1/ai/suggestions" => Suggestions;
    kpis: Analytics "/api/v1/analytics/kpis" => Kpis;
    billing_summary: Billing "/api/v1/billing/summary" => BillingSummary;
    /// The balance of each open folio of the property.
    balances: Billing "/api/v1/billing/balances" => Balances;
    housekeeping_summary: Housekeeping "/api/v1/housekeeping/summary" => Summary;
    room_statuses: Housekeeping "/api/v1/housekeeping/rooms/status" => RoomStatuses;
    housekeeping_board: Housekeeping "/api/v1/housekeeping/board" => Board;
    /// The property's keys that are valid now or later.
    lock_keys: Lock "/api/v1/locks/keys" => LockKeys;
    maintenance_summary: Maintenance "/api/v1/maintenance/summary" => MaintenanceSummary;
    maintenance_board: Maintenance "/api/v1/maintenance/board" => MaintenanceBoard;
    alerts: Notification "/api/v1/alerts" => Alerts;
    rate_snapshot: Pricing "/v1/pricing/rate-snapshot" => RateSnapshot;
    on_duty: Staff "/api/v1/staff/on-duty" => OnDuty;
    capacity: Staff "/api/v1/staff/capacity" => Capacity;
    staffing_gaps: Staff "/api/v1/staff/forecast/staffing-gaps" => StaffingGaps;
}

/// Declares a function per route that takes a day; by default today in the property's time zone.
macro_rules! property_day_reads {
    ($($(#[$doc:meta])* $name:ident: $upstream:ident $path:literal => $response:ty;)*) => {
        impl Upstreams {$(
            $(#[$doc])*
            pub async fn $name(
                &self,
                context: &CallContext,
                property: PropertyId,
                date: Option<Date>,
            ) -> CallResult<$response> {
                let query = (("propertyId", property), ("date", date));
                self.stack(Upstream::$upstream)?.get(context, $path, &query).await
            }
        )*}
    };
}

property_day_reads! {
    /// Arrivals of the day.
    arrivals: Reservation "/api/v1/reservations/arrivals" => Stays;
    /// Departures of the day.
    departures: Reservation "/api/v1/reservations/departures" => Stays;
    /// Guests in house on the day; by default now.
    in_house: Reservation "/api/v1/reservations/in-house" => Stays;
    /// Shifts that begin on the day.
    shifts: Staff "/api/v1/staff/shifts" => Shifts;
}
