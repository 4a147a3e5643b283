//! sync: the start of a sync.

use contracts::upstream::Upstream;
use contracts::upstream::sync::{Handshake, HandshakeRequest};

use super::{CallResult, Upstreams};
use crate::context::CallContext;
use crate::request::IdempotentBody;

impl Upstreams {
    /// Starts or resumes the caller's sync. Idempotent per key.
    pub async fn handshake(
        &self,
        context: &CallContext,
        key: &str,
        request: &HandshakeRequest,
    ) -> CallResult<Handshake> {
        let body = serde_json::to_vec(request).expect("requests are plain JSON").into();
        let call = IdempotentBody { key, body }.call("/api/v1/sync/handshake");
        Ok(self.stack(Upstream::Sync)?.post(context, &call).await?.value)
    }
}
