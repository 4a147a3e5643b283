//! audit: its routes, whose answers are in `contracts::upstream::audit`.

use contracts::id::PropertyId;
use contracts::upstream::Upstream;
use contracts::upstream::audit::AuditEntries;

use super::{Called, Upstreams};
use crate::CallContext;

impl Upstreams {
    /// The newest entries of the property, at most `limit`.
    pub async fn audit_entries(
        &self,
        context: &CallContext,
        property: PropertyId,
        limit: u32,
    ) -> Called<AuditEntries> {
        let query = (("propertyId", property), ("limit", limit));
        self.stack(Upstream::Audit)?.get(context, "/api/v1/audit/entries", &query).await
    }
}
