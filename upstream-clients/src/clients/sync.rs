//! sync: its routes. Response types are in `contracts::upstream::sync`.

use contracts::id::{PropertyId, TenantId};
use contracts::upstream::Upstream;
use contracts::upstream::sync::{Handshake, HandshakeRequest, SyncCursors};

use super::{CallResult, Upstreams};
use crate::context::CallContext;
use crate::request::IdempotentBody;

impl Upstreams {
    /// The sync cursor of each desktop of the property, for the gateway itself and no operator.
    pub async fn sync_cursors_of(
        &self,
        context: &CallContext,
        tenant: TenantId,
        property: PropertyId,
    ) -> CallResult<SyncCursors> {
        let path = format!("/api/v1/sync/tenants/{tenant}/cursors");
        self.stack(Upstream::Sync)?.get(context, &path, &[("propertyId", property)]).await
    }

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
