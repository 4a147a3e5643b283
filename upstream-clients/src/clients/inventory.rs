//! inventory: its routes. Response types are in `contracts::upstream::inventory`.

use contracts::id::PropertyId;
use contracts::upstream::Upstream;
use contracts::upstream::inventory::{Availability, Calendar};
use jiff::civil::Date;

use super::{CallResult, Upstreams};
use crate::context::CallContext;

/// Nights in `[from, to)`. The upstream chooses what is left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DateRange {
    pub from: Option<Date>,
    pub to: Option<Date>,
}

impl DateRange {
    /// `?from=&to=`
    fn query(self) -> [(&'static str, Option<Date>); 2] {
        [("from", self.from), ("to", self.to)]
    }
}

impl Upstreams {
    /// Availability by room type and night. Defaults to two weeks from today in the property's time
    /// zone.
    pub async fn availability(
        &self,
        context: &CallContext,
        property: PropertyId,
        nights: DateRange,
    ) -> CallResult<Availability> {
        let path = format!("/api/v1/inventory/properties/{property}/availability");
        let query = nights.query();
        self.stack(Upstream::Inventory)?.get(context, &path, &query).await
    }

    /// Availability and room assignments by night, for the nights of [`Upstreams::availability`].
    pub async fn calendar(
        &self,
        context: &CallContext,
        property: PropertyId,
        nights: DateRange,
    ) -> CallResult<Calendar> {
        let path = format!("/api/v1/inventory/properties/{property}/calendar");
        let query = nights.query();
        self.stack(Upstream::Inventory)?.get(context, &path, &query).await
    }
}
