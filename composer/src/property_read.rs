//! A read of a property: its policy and its call in one value, for widgets, the workbench and the
//! gateway's handlers.

use std::future::Future;
use std::sync::Arc;

use contracts::id::{PropertyId, TenantId};
use futures_util::future::{FutureExt, TryFutureExt};
use jiff::civil::Date;
use upstream_clients::{CallContext, CallError, Upstreams};

use crate::local_data::LocalData;
use crate::read_policy::ReadPolicy;
use crate::snapshots::{FetchFuture, Fetched, Key};

#[derive(Debug, Clone, Copy)]
pub struct PropertyRead {
    pub policy: ReadPolicy,
    pub call: PropertyCall,
}

/// Starts the call of a read, usually with [`fetch`].
pub type PropertyCall = fn(ReadRequest) -> FetchFuture;

/// The parameters of a call, and where it gets its data.
#[derive(Debug)]
pub struct ReadRequest {
    pub upstreams: Arc<Upstreams>,
    pub local: Arc<dyn LocalData>,
    pub context: CallContext,
    pub property: PropertyId,
    /// See [`PropertyDay::day`].
    pub day: Option<Date>,
}

/// The property and day of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PropertyDay {
    pub property: PropertyId,
    /// `None` is today in the property's time zone. Reads that are not about a day ignore it.
    pub day: Option<Date>,
}

impl From<PropertyId> for PropertyDay {
    fn from(property: PropertyId) -> Self {
        Self { property, day: None }
    }
}

impl PropertyRead {
    pub fn key(&self, tenant: TenantId, at: PropertyDay) -> Key {
        Key::of_property(&self.policy, tenant, at.property).on(at.day)
    }
}

/// The sources of all data.
#[derive(Debug, Clone)]
pub(crate) struct Sources {
    pub(crate) upstreams: Arc<Upstreams>,
    pub(crate) local: Arc<dyn LocalData>,
}

impl Sources {
    pub(crate) fn fetch(
        &self,
        read: &PropertyRead,
        context: CallContext,
        at: PropertyDay,
    ) -> FetchFuture {
        let Self { upstreams, local } = self.clone();
        let PropertyDay { property, day } = at;
        (read.call)(ReadRequest { upstreams, local, context, property, day })
    }
}

/// Makes a client's call the fetch of a read.
pub fn fetch<T: Into<Fetched> + 'static>(
    call: impl Future<Output = Result<T, CallError>> + Send + 'static,
) -> FetchFuture {
    call.map_ok(Into::into).boxed()
}
