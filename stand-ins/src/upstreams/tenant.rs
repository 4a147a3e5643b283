//! tenant: profiles and preferences of operators, and the status of tenants.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use contracts::id::{OperatorId, TenantId};
use contracts::upstream::tenant::{OperatorPreferences, OperatorProfile, TenantStatus, Theme};
use parking_lot::Mutex;
use service_kit::caller::Caller;
use service_kit::extract::{Json, Path};
use service_kit::problem::{ApiError, ApiResult};

use super::{Platform, UpstreamState};
use crate::demo::Operator;

/// Which tenants are suspended. `POST /control/events` changes it.
#[derive(Debug, Default)]
pub(crate) struct TenantStatuses(Mutex<BTreeSet<TenantId>>);

impl TenantStatuses {
    pub(crate) fn set(&self, tenant: TenantId, status: TenantStatus) {
        let mut suspended = self.0.lock();
        match status {
            TenantStatus::Suspended => suspended.insert(tenant),
            TenantStatus::Active => suspended.remove(&tenant),
        };
    }

    fn status(&self, tenant: TenantId) -> TenantStatus {
        let suspended = self.0.lock().contains(&tenant);
        if suspended { TenantStatus::Suspended } else { TenantStatus::Active }
    }
}

pub(super) fn routes() -> Router<UpstreamState> {
    Router::new()
        .route("/api/v1/tenants/{tenant_id}/operators/{operator_id}", get(operator))
        .route("/api/v1/tenants/{tenant_id}/operators/{operator_id}/preferences", get(preferences))
}

async fn operator(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Path((tenant, id)): Path<(TenantId, OperatorId)>,
) -> ApiResult<Json<OperatorProfile>> {
    let operator = platform.operator(&caller, tenant, id)?;
    let primary = operator.property_ids.first().copied();
    Ok(Json(OperatorProfile {
        tenant_id: tenant,
        operator_id: id,
        tenant_status: platform.tenant_statuses.status(tenant),
        display_name: operator.display_name.clone(),
        locale: platform.locale(operator)?,
        roles: operator.roles.iter().map(|role| role.name().to_owned()).collect(),
        property_ids: operator.property_ids.clone(),
        primary_property_id: primary,
        as_of: platform.env.now().into(),
    }))
}

/// The defaults: the stand-in stores no preferences.
async fn preferences(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Path((tenant, id)): Path<(TenantId, OperatorId)>,
) -> ApiResult<Json<OperatorPreferences>> {
    let operator = platform.operator(&caller, tenant, id)?;
    Ok(Json(OperatorPreferences {
        preferences_id: operator.preferences_id,
        operator_id: id,
        locale: platform.locale(operator)?,
        theme: Theme::System,
        widgets: Vec::new(),
        version: 0,
        as_of: platform.env.now().into(),
    }))
}

impl Platform {
    /// Finds an operator of the caller's tenant.
    fn operator(&self, caller: &Caller, tenant: TenantId, id: OperatorId) -> ApiResult<&Operator> {
        let found = self.demo.operators.iter().find(|operator| {
            operator.id == id && operator.tenant_id == tenant && tenant == caller.0.tenant
        });
        found.ok_or_else(ApiError::not_found)
    }

    /// The locale of the operator's first property.
    fn locale(&self, operator: &Operator) -> ApiResult<String> {
        let home = operator.property_ids.first().and_then(|&id| self.demo.property(id));
        home.map(|home| home.locale.to_owned()).ok_or_else(ApiError::not_found)
    }
}
