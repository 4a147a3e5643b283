//! staff: its routes, whose answers are in `contracts::upstream::staff`.

use contracts::id::PropertyId;
use contracts::upstream::Upstream;
use contracts::upstream::staff::{Capacity, OnDuty, Shifts, StaffingGaps};
use jiff::civil::Date;

use super::{Called, Upstreams};
use crate::{CallContext, property_query};

impl Upstreams {
    pub async fn on_duty(&self, context: &CallContext, property: PropertyId) -> Called<OnDuty> {
        let path = "/api/v1/staff/on-duty";
        self.stack(Upstream::Staff)?.get(context, path, &property_query(property)).await
    }

    pub async fn capacity(&self, context: &CallContext, property: PropertyId) -> Called<Capacity> {
        let path = "/api/v1/staff/capacity";
        self.stack(Upstream::Staff)?.get(context, path, &property_query(property)).await
    }

    /// Those that begin on the day; left out, it is today in the property's time zone.
    pub async fn shifts(
        &self,
        context: &CallContext,
        property: PropertyId,
        date: Option<Date>,
    ) -> Called<Shifts> {
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
    ) -> Called<StaffingGaps> {
        let path = "/api/v1/staff/forecast/staffing-gaps";
        self.stack(Upstream::Staff)?.get(context, path, &property_query(property)).await
    }
}
