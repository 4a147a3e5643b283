//! inventory: its routes, whose answers are in `contracts::upstream::inventory`.

use contracts::id::PropertyId;
use contracts::upstream::Upstream;
use contracts::upstream::inventory::{Availability, Calendar};
use jiff::civil::Date;

use super::{Called, Upstreams};
use crate::CallContext;

impl Upstreams {
    /// Rooms by type and night, from the first night up to the day after the last. Left out:
    /// from today in the property's time zone, for a fortnight.
    pub async fn availability(
        &self,
        context: &CallContext,
        property: PropertyId,
        (from, to): (Option<Date>, Option<Date>),
    ) -> Called<Availability> {
        let path = format!("/api/v1/inventory/properties/{property}/availability");
        let query = [("from", from), ("to", to)];
        self.stack(Upstream::Inventory)?.get(context, &path, &query).await
    }

    /// Rooms by type and night, and who has which room. The nights are those of
    /// [`Upstreams::availability`].
    pub async fn calendar(
        &self,
        context: &CallContext,
        property: PropertyId,
        (from, to): (Option<Date>, Option<Date>),
    ) -> Called<Calendar> {
        let path = format!("/api/v1/inventory/properties/{property}/calendar");
        let query = [("from", from), ("to", to)];
        self.stack(Upstream::Inventory)?.get(context, &path, &query).await
    }
}
