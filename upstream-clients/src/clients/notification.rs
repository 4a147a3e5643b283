//! notification: its routes. Response types are in `contracts::upstream::notification`.

use contracts::id::PropertyId;
use contracts::upstream::Upstream;
use contracts::upstream::notification::Alerts;

use super::{CallResult, Upstreams, property_query};
use crate::context::CallContext;

impl Upstreams {
    pub async fn alerts(&self, context: &CallContext, property: PropertyId) -> CallResult<Alerts> {
        self.stack(Upstream::Notification)?
            .get(context, "/api/v1/alerts", &property_query(property))
            .await
    }
}
