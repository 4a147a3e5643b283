//! pricing: its routes, whose answers are in `contracts::upstream::pricing`.

use contracts::id::PropertyId;
use contracts::upstream::Upstream;
use contracts::upstream::pricing::RateSnapshot;

use super::{Called, Upstreams};
use crate::{CallContext, property_query};

impl Upstreams {
    pub async fn rate_snapshot(
        &self,
        context: &CallContext,
        property: PropertyId,
    ) -> Called<RateSnapshot> {
        let path = "/v1/pricing/rate-snapshot";
        self.stack(Upstream::Pricing)?.get(context, path, &property_query(property)).await
    }
}
