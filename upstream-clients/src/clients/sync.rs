//! sync: its routes, whose answers are in `contracts::upstream::sync`.

use contracts::id::{PropertyId, TenantId};
use contracts::upstream::Upstream;
use contracts::upstream::sync::{Handshake, HandshakeRequest, SyncCursors};

use super::{Called, Upstreams};
use crate::call_stack::Call;
use crate::{CallContext, property_query};

impl Upstreams {
    /// How far each desktop of the property has come.
    pub async fn sync_cursors(
        &self,
        context: &CallContext,
        property: PropertyId,
    ) -> Called<SyncCursors> {
        let path = "/api/v1/sync/cursors";
        self.stack(Upstream::Sync)?.get(context, path, &property_query(property)).await
    }

    /// The same for the gateway itself, for no operator.
    pub async fn sync_cursors_of(
        &self,
        context: &CallContext,
        (tenant, property): (TenantId, PropertyId),
    ) -> Called<SyncCursors> {
        let path = format!("/api/v1/sync/tenants/{tenant}/cursors");
        self.stack(Upstream::Sync)?.get(context, &path, &property_query(property)).await
    }

    /// From where the caller's desktop goes on. Asked twice under a key it is one handshake.
    pub async fn handshake(
        &self,
        context: &CallContext,
        (key, request): (&str, HandshakeRequest),
    ) -> Called<Handshake> {
        let body = serde_json::to_vec(&request).expect("requests are plain JSON").into();
        let call = Call { path: "/api/v1/sync/handshake", body, idempotency_key: Some(key) };
        Ok(self.stack(Upstream::Sync)?.post(context, &call).await?.value)
    }
}
