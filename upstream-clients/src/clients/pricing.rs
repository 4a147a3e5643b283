//! pricing: its routes. Response types are in `contracts::upstream::pricing`.

use contracts::id::PropertyId;
use contracts::upstream::Upstream;
use contracts::upstream::pricing::RateSnapshot;

use super::{CallResult, Upstreams, property_query};
use crate::context::CallContext;

impl Upstreams {
    pub async fn rate_snapshot(
        &self,
        context: &CallContext,
        property: PropertyId,
    ) -> CallResult<RateSnapshot> {
        let path = "/v1/pricing/rate-snapshot";
        self.stack(Upstream::Pricing)?.get(context, path, &property_query(property)).await
    }
}
