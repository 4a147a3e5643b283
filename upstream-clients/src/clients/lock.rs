//! lock-integration: what became of an operation.

use contracts::id::TenantId;
use contracts::problem::code;
use contracts::upstream::Upstream;
use contracts::upstream::lock::LockOperation;

use super::{CallResult, Upstreams};
use crate::context::CallContext;
use crate::error::CallError;

impl Upstreams {
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
