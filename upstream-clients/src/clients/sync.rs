//! sync: its routes. Response types are in `contracts::upstream::sync`.

use contracts::id::{PropertyId, TenantId};
use contracts::upstream::Upstream;
use contracts::upstream::sync::{Handshake, HandshakeRequest, SyncCursors};

use super::{CallResult, Upstreams, property_query};
use crate::context::CallContext;
use crate::request::IdempotentBody;

impl Upstreams {
    /// The sync cursor of each desktop of the property.
    pub async fn sync_cursors(
        &self,
        context: &CallContext,
        property: PropertyId,
    ) -> CallResult<SyncCursors> {
        let path = "/api/v1/sync/cursors";
        self.stack(Upstream::Sync)?.get(context, path, &property_query(property)).await
    }

    /// As [`Upstreams::sync_cursors`], called by the gateway itself for no operator.
    pub async fn sync_cursors_of(
        &self,
        context: &CallContext,
        tenant: TenantId,
        property: PropertyId,
    ) -> CallResult<SyncCursors> {
        let path = format!("/api/v1/sync/tenants/{tenant}/cursors");
        self.stack(Upstream::Sync)?.get(context, &path, &property_query(property)).await
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
