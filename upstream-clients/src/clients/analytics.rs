//! analytics: its routes. Response types are in `contracts::upstream::analytics`.

use contracts::id::PropertyId;
use contracts::upstream::Upstream;
use contracts::upstream::analytics::Kpis;

use super::{CallResult, Upstreams, property_query};
use crate::context::CallContext;

impl Upstreams {
    pub async fn kpis(&self, context: &CallContext, property: PropertyId) -> CallResult<Kpis> {
        self.stack(Upstream::Analytics)?
            .get(context, "/api/v1/analytics/kpis", &property_query(property))
            .await
    }
}
