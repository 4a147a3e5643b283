//! property: its routes, whose answers are in `contracts::upstream::property`.

use contracts::id::PropertyId;
use contracts::upstream::Upstream;
use contracts::upstream::property::Property;

use super::{Called, Upstreams};
use crate::CallContext;

impl Upstreams {
    /// The hotel's card.
    pub async fn property(&self, context: &CallContext, property: PropertyId) -> Called<Property> {
        let path = format!("/internal/v1/properties/{property}");
        self.stack(Upstream::Property)?.get(context, &path, &[("", ""); 0]).await
    }
}
