//! analytics: its routes, whose answers are in `contracts::upstream::analytics`.

use contracts::id::PropertyId;
use contracts::upstream::Upstream;
use contracts::upstream::analytics::Kpis;

use super::{Called, Upstreams};
use crate::{CallContext, property_query};

impl Upstreams {
    pub async fn kpis(&self, context: &CallContext, property: PropertyId) -> Called<Kpis> {
        self.stack(Upstream::Analytics)?
            .get(context, "/api/v1/analytics/kpis", &property_query(property))
            .await
    }
}
