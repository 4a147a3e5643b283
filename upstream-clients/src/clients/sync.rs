//! sync: its routes, whose answers are in `contracts::upstream::sync`.

use contracts::id::PropertyId;
use contracts::upstream::Upstream;
use contracts::upstream::sync::SyncCursors;

use super::{Called, Upstreams};
use crate::{CallContext, property_query};

impl Upstreams {
    /// How far each desktop of the property has come.
    pub async fn sync_cursors(
        &self,
        context: &CallContext,
        property: PropertyId,
    ) -> Called<SyncCursors> {
        let path = "/api/v1/sync/cursors";
        self.stack(Upstream::Sync)?.get(context, path, &property_query(property)).await
    }
}
