//! tenant: its routes. Response types are in `contracts::upstream::tenant`.

use contracts::id::{OperatorId, TenantId};
use contracts::upstream::Upstream;
use contracts::upstream::tenant::OperatorProfile;

use super::{CallResult, Upstreams};
use crate::context::CallContext;

impl Upstreams {
    /// The operator's profile in the tenant.
    pub async fn operator(
        &self,
        context: &CallContext,
        tenant: TenantId,
        operator: OperatorId,
    ) -> CallResult<OperatorProfile> {
        let path = format!("/api/v1/tenants/{tenant}/operators/{operator}");
        self.stack(Upstream::Tenant)?.get(context, &path, &[("", ""); 0]).await
    }
}
