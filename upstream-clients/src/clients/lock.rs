//! lock-integration: its routes, whose answers are in `contracts::upstream::lock`.

use bytes::Bytes;
use contracts::id::{KeyCredentialId, LockDeviceId, PropertyId, TenantId};
use contracts::problem::code;
use contracts::upstream::Upstream;
use contracts::upstream::lock::{IssuedKey, LockDevice, LockKeys, LockOperation, RevokedKey};

use super::{Called, Upstreams};
use crate::call_stack::{Call, Reply};
use crate::{CallContext, CallError, property_query};

impl Upstreams {
    /// Which door of which property a lock is at.
    pub async fn lock_device(
        &self,
        context: &CallContext,
        lock: LockDeviceId,
    ) -> Called<LockDevice> {
        let path = format!("/api/v1/locks/{lock}");
        self.stack(Upstream::Lock)?.get(context, &path, &()).await
    }

    /// Makes a key. `body` is an `IssueKeyRequest`.
    pub async fn issue_key(
        &self,
        context: &CallContext,
        lock: LockDeviceId,
        (key, body): (&str, Bytes),
    ) -> Called<Reply<IssuedKey>> {
        let path = format!("/api/v1/locks/{lock}/keys");
        let call = Call { path: &path, body, idempotency_key: Some(key) };
        self.stack(Upstream::Lock)?.post(context, &call).await
    }

    /// Ends a key. `body` is a `RevokeKeyRequest`.
    pub async fn revoke_key(
        &self,
        context: &CallContext,
        (lock, credential): (LockDeviceId, KeyCredentialId),
        (key, body): (&str, Bytes),
    ) -> Called<Reply<RevokedKey>> {
        let path = format!("/api/v1/locks/{lock}/keys/{credential}/revoke");
        let call = Call { path: &path, body, idempotency_key: Some(key) };
        self.stack(Upstream::Lock)?.post(context, &call).await
    }

    /// What was done under an idempotency key; `None`: nothing. Any other 404 is no such word.
    pub async fn lock_operation(
        &self,
        context: &CallContext,
        tenant: TenantId,
        key: &str,
    ) -> Called<Option<LockOperation>> {
        let path = format!("/api/v1/locks/operations/{key}");
        let query = [("tenantId", tenant.as_str())];
        match self.stack(Upstream::Lock)?.get(context, &path, &query).await {
            Ok(operation) => Ok(Some(operation)),
            Err(CallError::Status { status: 404, problem: Some(problem) })
                if problem.is(&code::RESOURCE_NOT_FOUND) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The keys of a property that open a door now or later.
    pub async fn lock_keys(&self, context: &CallContext, property: PropertyId) -> Called<LockKeys> {
        let query = property_query(property);
        self.stack(Upstream::Lock)?.get(context, "/api/v1/locks/keys", &query).await
    }
}
