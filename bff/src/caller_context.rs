//! Context of upstream calls made for a caller: request id, trace, deadline, and a token that
//! identifies the caller.

use std::sync::Arc;

use auth::Principal;
use auth::request_token::RequestTokens;
use contracts::id::RequestId;
use contracts::upstream::Upstream;
use service_kit::request::RequestContext;
use tokio::time::Instant;
use upstream_clients::{CallContext, Credentials, Rights};

/// Caller-specific part of an upstream call's context.
#[derive(Debug, Clone)]
pub(crate) struct CallerContext {
    context: RequestContext,
    credentials: Arc<CallerCredentials>,
}

impl CallerContext {
    /// Creates a context outside an extractor.
    pub(crate) fn new(
        context: RequestContext,
        tokens: Arc<RequestTokens>,
        principal: Arc<Principal>,
    ) -> Self {
        Self { context, credentials: Arc::new(CallerCredentials { tokens, principal }) }
    }

    /// When the request's first byte arrived: deadlines count from here.
    pub(crate) fn received(&self) -> Instant {
        self.context.received
    }

    /// The request's id.
    pub(crate) fn request_id(&self) -> RequestId {
        self.context.id
    }

    /// Returns the context of a call with this deadline.
    pub(crate) fn with_deadline(&self, deadline: Instant) -> CallContext {
        CallContext {
            tenant: Some(self.credentials.principal.tenant),
            request_id: self.context.id,
            traceparent: self.context.traceparent().into(),
            credentials: Arc::clone(&self.credentials) as Arc<dyn Credentials>,
            deadline,
        }
    }
}

/// Issues a request token for each upstream.
#[derive(Debug)]
struct CallerCredentials {
    tokens: Arc<RequestTokens>,
    principal: Arc<Principal>,
}

impl Credentials for CallerCredentials {
    fn bearer(&self, audience: Upstream) -> Arc<str> {
        self.tokens.token_for(&self.principal, audience.name())
    }

    fn rights(&self) -> Rights {
        Rights::new(self.principal.roles, &self.principal.properties)
    }

    fn caller(&self) -> Option<[u8; 32]> {
        Some(self.principal.token_digest)
    }
}
