//! `GET /session`: who the gateway takes the caller for.

use contracts::id::{DeviceId, OperatorId, PropertyId, TenantId};
use contracts::role::Role;
use jiff::Timestamp;
use serde::Serialize;
use service_kit::extract::Json;

use crate::edge::{Caller, SignedIn};

/// The caller, as its access token says. Locale and display names come from tenant-service
/// with the session store.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    pub tenant_id: TenantId,
    pub operator_id: OperatorId,
    pub device_id: DeviceId,
    pub roles: Vec<Role>,
    pub property_ids: Vec<PropertyId>,
    #[serde(with = "contracts::clock::wire")]
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}

/// Who is calling.
#[utoipa::path(
    get, path = "/session", tag = "session", security(("dpop" = [])),
    responses((status = 200, body = Session), (status = "default", response = crate::openapi::AnyProblem)),
)]
pub async fn get_session(caller: Caller<SignedIn>) -> Json<Session> {
    let principal = caller.principal;
    Json(Session {
        tenant_id: principal.tenant,
        operator_id: principal.operator,
        device_id: principal.device,
        roles: principal.roles.iter().collect(),
        property_ids: principal.properties.clone(),
        expires_at: principal.expires_at,
    })
}
