//! notification: its routes, whose answers are in `contracts::upstream::notification`.

use contracts::id::PropertyId;
use contracts::upstream::Upstream;
use contracts::upstream::notification::Alerts;

use super::{Called, Upstreams};
use crate::{CallContext, property_query};

impl Upstreams {
    pub async fn alerts(&self, context: &CallContext, property: PropertyId) -> Called<Alerts> {
        self.stack(Upstream::Notification)?
            .get(context, "/api/v1/alerts", &property_query(property))
            .await
    }
}
