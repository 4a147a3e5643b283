//! tenant: who an operator is to the tenant, and whether the tenant may work.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use contracts::id::{OperatorId, TenantId};
use contracts::upstream::tenant::{OperatorProfile, TenantStatus};
use service_kit::caller::Caller;
use service_kit::extract::{Json, Path};
use service_kit::problem::{ApiError, ApiResult};

use super::{Scene, Stage};
use crate::ledger::lock;

/// Which tenants are suspended. `POST /control/events` changes it.
#[derive(Debug, Default)]
pub(crate) struct Tenancies(Mutex<BTreeSet<TenantId>>);

impl Tenancies {
    pub(crate) fn set(&self, tenant: TenantId, status: TenantStatus) {
        let mut suspended = lock(&self.0);
        match status {
            TenantStatus::Suspended => suspended.insert(tenant),
            TenantStatus::Active => suspended.remove(&tenant),
        };
    }

    fn status(&self, tenant: TenantId) -> TenantStatus {
        let suspended = lock(&self.0).contains(&tenant);
        if suspended { TenantStatus::Suspended } else { TenantStatus::Active }
    }
}

pub(super) fn router(scene: Scene, tenancies: Arc<Tenancies>) -> Router {
    Router::new()
        .route("/api/v1/tenants/{tenant_id}/operators/{operator_id}", get(operator))
        .with_state(Stage { scene, own: tenancies })
}

async fn operator(
    State(stage): State<Stage<Tenancies>>,
    caller: Caller,
    Path((tenant, id)): Path<(TenantId, OperatorId)>,
) -> ApiResult<Json<OperatorProfile>> {
    let house = &stage.scene.house;
    let found = house.operators.iter().find(|operator| {
        operator.id == id && operator.tenant_id == tenant && tenant == caller.0.tenant
    });
    let operator = found.ok_or_else(ApiError::not_found)?;
    let primary = operator.property_ids.first().copied();
    let home = primary.and_then(|id| house.property(id)).ok_or_else(ApiError::not_found)?;
    Ok(Json(OperatorProfile {
        tenant_id: tenant,
        operator_id: id,
        tenant_status: stage.own.status(tenant),
        display_name: operator.display_name.clone(),
        locale: home.locale.to_owned(),
        roles: operator.roles.iter().map(|role| role.name().to_owned()).collect(),
        property_ids: operator.property_ids.clone(),
        primary_property_id: primary,
        as_of: stage.scene.clock.now(),
    }))
}
