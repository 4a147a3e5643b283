//! staff: its routes. Response types are in `contracts::upstream::staff`.

use contracts::id::PropertyId;
use contracts::upstream::Upstream;
use contracts::upstream::staff::{Capacity, OnDuty, Shifts, StaffingGaps};
use jiff::civil::Date;

use super::{CallResult, Upstreams, property_query};
use crate::context::CallContext;

impl Upstreams {
    pub async fn on_duty(&self, context: &CallContext, property: PropertyId) -> CallResult<OnDuty> {
        let path = "/api/v1/staff/on-duty";
        self.stack(Upstream::Staff)?.get(context, path, &property_query(property)).await
    }

    pub async fn capacity(
        &self,
        context: &CallContext,
        property: PropertyId,
    ) -> CallResult<Capacity> {
        let path = "/api/v1/staff/capacity";
        self.stack(Upstream::Staff)?.get(context, path, &property_query(property)).await
    }

    /// Shifts that begin on the day; by default today in the property's time zone.
    pub async fn shifts(
        &self,
        context: &CallContext,
        property: PropertyId,
        date: Option<Date>,
    ) -> CallResult<Shifts> {
        let query = [
            ("propertyId", Some(property.to_string())),
            ("date", date.map(|date| date.to_string())),
        ];
        self.stack(Upstream::Staff)?.get(context, "/api/v1/staff/shifts", &query).await
    }

    pub async fn staffing_gaps(
        &self,
        context: &CallContext,
        property: PropertyId,
    ) -> CallResult<StaffingGaps> {
        let path = "/api/v1/staff/forecast/staffing-gaps";
        self.stack(Upstream::Staff)?.get(context, path, &property_query(property)).await
    }
}
