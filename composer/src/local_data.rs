//! Port for dashboard data that the gateway itself owns, so that this crate needs no SQL.

use std::fmt::Debug;

use contracts::id::PropertyId;
use upstream_clients::CallContext;

use crate::snapshots::FetchFuture;

pub trait LocalData: Debug + Send + Sync {
    /// The sync status of the property's desktops, by `context.deadline`.
    fn sync_status(&self, context: &CallContext, property: PropertyId) -> FetchFuture;
}
