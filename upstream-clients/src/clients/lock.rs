//! lock-integration: its routes. Response types are in `contracts::upstream::lock`.

use contracts::id::{KeyCredentialId, LockDeviceId, TenantId};
use contracts::problem::code;
use contracts::upstream::Upstream;
use contracts::upstream::lock::{IssuedKey, LockDevice, LockOperation, RevokedKey};

use super::{CallResult, Upstreams};
use crate::call_stack::Reply;
use crate::context::CallContext;
use crate::error::CallError;
use crate::request::IdempotentBody;

impl Upstreams {
    /// The room and property where a lock is installed.
    pub async fn lock_device(
        &self,
        context: &CallContext,
        lock: LockDeviceId,
    ) -> CallResult<LockDevice> {
        let path = format!("/api/v1/locks/{lock}");
        self.stack(Upstream::Lock)?.get(context, &path, &()).await
    }

    /// Issues a key. The body of `command` is an `IssueKeyRequest`.
    pub async fn issue_key(
        &self,
        context: &CallContext,
        lock: LockDeviceId,
        command: IdempotentBody<'_>,
    ) -> CallResult<Reply<IssuedKey>> {
        let path = format!("/api/v1/locks/{lock}/keys");
        self.stack(Upstream::Lock)?.post(context, &command.call(&path)).await
    }

    /// Revokes a key. The body of `command` is a `RevokeKeyRequest`.
    pub async fn revoke_key(
        &self,
        context: &CallContext,
        lock: LockDeviceId,
        credential: KeyCredentialId,
        command: IdempotentBody<'_>,
    ) -> CallResult<Reply<RevokedKey>> {
        let path = format!("/api/v1/locks/{lock}/keys/{credential}/revoke");
        self.stack(Upstream::Lock)?.post(context, &command.call(&path)).await
    }

    /// The operation performed under an idempotency key; `None` if there was none. Only a 404 with
    /// `RESOURCE_NOT_FOUND` means that.
    pub async fn lock_operation(
        &self,
        context: &CallContext,
        tenant: TenantId,
        key: &str,
    ) -> CallResult<Option<LockOperation>> {
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
}
