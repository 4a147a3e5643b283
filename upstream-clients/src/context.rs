//! What a call takes from the request it is made for: identity, trace and deadline.

use std::sync::Arc;

use contracts::id::{PropertyId, RequestId, TenantId};
use contracts::role::RoleSet;
use contracts::upstream::Upstream;
use tokio::time::Instant;

/// Authenticates a call to an upstream.
pub trait Credentials: Send + Sync {
    /// A bearer token for this upstream only.
    fn bearer(&self, audience: Upstream) -> Arc<str>;

    /// What the caller may do. Callers with equal rights may share a call if the upstream decides
    /// by rights alone.
    fn rights(&self) -> Rights {
        Rights::default()
    }

    /// A key that identifies the caller; `None` when the gateway calls for no operator.
    fn caller(&self) -> Option<[u8; 32]> {
        None
    }
}

/// A caller's roles and property scope, in canonical order.
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
#[derive(Clone, derive_more::Debug)]
#[debug("CallContext {{ request_id: {request_id:?}, .. }}")]
pub struct CallContext {
    /// `None` when the gateway calls for no operator.
    pub tenant: Option<TenantId>,
    pub request_id: RequestId,
    /// W3C Trace Context.
    pub traceparent: Arc<str>,
    pub credentials: Arc<dyn Credentials>,
    /// No response is awaited after this instant.
    pub deadline: Instant,
}

impl CallContext {
    /// Returns the context with this deadline, or its own if that is earlier.
    #[must_use]
    pub fn with_deadline(&self, deadline: Instant) -> Self {
        Self { deadline: self.deadline.min(deadline), ..self.clone() }
    }
}
