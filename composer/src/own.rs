//! What the gateway itself holds and shows on a dashboard. Where it is stored is not known here.

use futures_util::future::BoxFuture;
use upstream_clients::{CallContext, CallError};

use contracts::id::PropertyId;

use crate::snapshots::Fetched;

pub trait OwnStore: Send + Sync {
    /// How the property's desktops keep up, by `context.deadline`.
    fn sync_status(
        &self,
        context: &CallContext,
        property: PropertyId,
    ) -> BoxFuture<'static, Result<Fetched, CallError>>;
}
