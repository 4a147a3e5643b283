//! One typed client per upstream, over one call stack.
//!
//! Not here: what is made of an answer, caches, and who the caller is; the caller's
//! credentials come in through [`Credentials`].

mod admission;
mod breaker;
pub mod call_stack;
mod caller;
pub mod clients;
mod concurrency;
pub mod error;
mod limits;
mod meters;
mod outgoing;
mod recent;
mod report;
mod retry;
pub mod ticks;
mod transport;

use std::collections::BTreeMap;
use std::sync::Arc;

use contracts::id::{PropertyId, RequestId, TenantId};
use contracts::role::RoleSet;
use contracts::upstream::Upstream;
use tokio::time::Instant;
use url::Url;

pub use call_stack::{Call, CallStack, Reply};
pub use clients::Upstreams;
pub use error::CallError;
pub use limits::Limits;
pub use report::{LastCall, Latency, UpstreamReport};
pub use transport::{Connector, TransportError};

/// Tells an upstream who is calling.
pub trait Credentials: Send + Sync {
    /// A bearer token meant for this upstream alone.
    fn bearer(&self, audience: Upstream) -> Arc<str>;

    /// What the caller may do. Callers with equal rights may share one call, as far as the upstream
    /// decides by rights alone.
    fn rights(&self) -> Rights {
        Rights::default()
    }

    /// A key that no other caller has; absent where the gateway calls for no operator.
    fn caller(&self) -> Option<[u8; 32]> {
        None
    }
}

/// The roles and the property scope of a caller, in one order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Rights {
    roles: RoleSet,
    properties: Box<[PropertyId]>,
}

impl Rights {
    pub fn new(roles: RoleSet, properties: &[PropertyId]) -> Self {
        let mut properties = properties.to_vec();
        properties.sort_unstable();
        properties.dedup();
        Self { roles, properties: properties.into() }
    }
}

/// What a call takes from the request it is made for.
#[derive(Clone)]
pub struct CallContext {
    /// Absent where the gateway calls for no operator.
    pub tenant: Option<TenantId>,
    pub request_id: RequestId,
    /// W3C Trace Context.
    pub traceparent: Arc<str>,
    pub credentials: Arc<dyn Credentials>,
    /// Nothing waits for an answer after this instant.
    pub deadline: Instant,
}

impl std::fmt::Debug for CallContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CallContext").field("request_id", &self.request_id).finish_non_exhaustive()
    }
}

impl CallContext {
    /// The same call with an earlier deadline; a later one is not granted.
    #[must_use]
    pub fn until(&self, deadline: Instant) -> Self {
        Self { deadline: self.deadline.min(deadline), ..self.clone() }
    }
}

/// Where each upstream listens.
pub type BaseUrls = BTreeMap<Upstream, Url>;

/// `?propertyId=`
fn property_query(property: PropertyId) -> [(&'static str, String); 1] {
    [("propertyId", property.to_string())]
}
