//! ai-orchestrator: its routes. Response types are in `contracts::upstream::ai`.

use contracts::id::PropertyId;
use contracts::upstream::Upstream;
use contracts::upstream::ai::Suggestions;

use super::{CallResult, Upstreams, property_query};
use crate::context::CallContext;

impl Upstreams {
    pub async fn suggestions(
        &self,
        context: &CallContext,
        property: PropertyId,
    ) -> CallResult<Suggestions> {
        let path = "/api/v1/ai/suggestions";
        self.stack(Upstream::Ai)?.get(context, path, &property_query(property)).await
    }
}
