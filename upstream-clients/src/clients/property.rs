//! property: its routes. Response types are in `contracts::upstream::property`.

use contracts::id::PropertyId;
use contracts::upstream::Upstream;
use contracts::upstream::property::Property;

use super::{CallResult, Upstreams};
use crate::context::CallContext;

impl Upstreams {
    /// The property's name, address and time zone.
    pub async fn property(
        &self,
        context: &CallContext,
        property: PropertyId,
    ) -> CallResult<Property> {
        let path = format!("/internal/v1/properties/{property}");
        self.stack(Upstream::Property)?.get(context, &path, &[("", ""); 0]).await
    }
}
