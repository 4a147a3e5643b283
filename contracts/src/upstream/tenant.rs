//! tenant: `GET /api/v1/tenants/{tenantId}/operators/{operatorId}`, as the operator.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::{OperatorId, PropertyId, TenantId};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TenantStatus {
    Active,
    Suspended,
}

/// Who the operator is to the tenant: the authority on roles and scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OperatorProfile {
    pub tenant_id: TenantId,
    pub operator_id: OperatorId,
    pub tenant_status: TenantStatus,
    pub display_name: String,
    /// BCP 47.
    pub locale: String,
    /// Names of roles; one that a reader does not know grants nothing.
    pub roles: Vec<String>,
    pub property_ids: Vec<PropertyId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_property_id: Option<PropertyId>,
    #[serde(with = "crate::clock::wire")]
    #[schema(value_type = String, format = DateTime)]
    pub as_of: Timestamp,
}

/// Types of the events that say a tenant may no longer work, or may again. The subject is the tenant.
pub const TENANT_SUSPENDED: &str = "melmastoon.tenant.tenant.suspended.v1";
pub const TENANT_REACTIVATED: &str = "melmastoon.tenant.tenant.reactivated.v1";

/// Data of both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TenantStatusChanged {
    pub reason: String,
}
