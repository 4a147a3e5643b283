//! inventory: its routes. Response types are in `contracts::upstream::inventory`.

use contracts::id::PropertyId;
use contracts::upstream::Upstream;
use contracts::upstream::inventory::{Availability, Calendar};
use jiff::civil::Date;

use super::{CallResult, Upstreams};
use crate::context::CallContext;

impl Upstreams {
    /// Availability by room type and night in `[from, to)`. Defaults to two weeks from today in the
    /// property's time zone.
    pub async fn availability(
        &self,
        context: &CallContext,
        property: PropertyId,
        (from, to): (Option<Date>, Option<Date>),
    ) -> CallResult<Availability> {
        let path = format!("/api/v1/inventory/properties/{property}/availability");
        let query = [("from", from), ("to", to)];
        self.stack(Upstream::Inventory)?.get(context, &path, &query).await
    }

    /// Availability and room assignments by night, for the nights of [`Upstreams::availability`].
    pub async fn calendar(
        &self,
        context: &CallContext,
        property: PropertyId,
        (from, to): (Option<Date>, Option<Date>),
    ) -> CallResult<Calendar> {
        let path = format!("/api/v1/inventory/properties/{property}/calendar");
        let query = [("from", from), ("to", to)];
        self.stack(Upstream::Inventory)?.get(context, &path, &query).await
    }
}
