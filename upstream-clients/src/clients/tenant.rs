//! tenant: its routes, whose answers are in `contracts::upstream::tenant`.

use contracts::id::{OperatorId, TenantId};
use contracts::upstream::Upstream;
use contracts::upstream::tenant::{OperatorPreferences, OperatorProfile};

use super::{Called, Upstreams};
use crate::CallContext;

impl Upstreams {
    /// Who the operator is to the tenant.
    pub async fn operator(
        &self,
        context: &CallContext,
        tenant: TenantId,
        operator: OperatorId,
    ) -> Called<OperatorProfile> {
        let path = format!("/api/v1/tenants/{tenant}/operators/{operator}");
        self.stack(Upstream::Tenant)?.get(context, &path, &[("", ""); 0]).await
    }

    /// How the operator wants the desktop.
    pub async fn preferences(
        &self,
        context: &CallContext,
        tenant: TenantId,
        operator: OperatorId,
    ) -> Called<OperatorPreferences> {
        let path = format!("/api/v1/tenants/{tenant}/operators/{operator}/preferences");
        self.stack(Upstream::Tenant)?.get(context, &path, &[("", ""); 0]).await
    }
}
