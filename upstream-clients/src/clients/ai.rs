//! ai-orchestrator: its routes, whose answers are in `contracts::upstream::ai`.

use contracts::id::PropertyId;
use contracts::upstream::Upstream;
use contracts::upstream::ai::Suggestions;

use super::{Called, Upstreams};
use crate::{CallContext, property_query};

impl Upstreams {
    pub async fn suggestions(
        &self,
        context: &CallContext,
        property: PropertyId,
    ) -> Called<Suggestions> {
        let path = "/api/v1/ai/suggestions";
        self.stack(Upstream::Ai)?.get(context, path, &property_query(property)).await
    }
}
