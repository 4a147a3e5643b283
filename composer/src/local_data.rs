//! Port for dashboard data that the gateway itself owns, so that this crate needs no SQL.

use futures_util::future::BoxFuture;
use upstream_clients::{CallContext, CallError};

use contracts::id::PropertyId;

use crate::snapshots::Fetched;

pub trait LocalData: Send + Sync {
    /// The sync status of the property's desktops, by `context.deadline`.
    fn sync_status(
        &self,
        context: &CallContext,
        property: PropertyId,
    ) -> BoxFuture<'static, Result<Fetched, CallError>>;
}
