//! tenant: `GET /api/v1/tenants/{tenantId}/operators/{operatorId}` and `…/preferences` below it, as
//! the operator.

use serde::{Deserialize, Serialize};

use crate::clock::wire;
use crate::id::{OperatorId, PreferencesId, PropertyId, TenantId};

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
    pub as_of: wire::Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Theme {
    Light,
    Dark,
    /// As the operator's computer has it.
    System,
}

/// How an operator wants the desktop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OperatorPreferences {
    pub preferences_id: PreferencesId,
    pub operator_id: OperatorId,
    /// BCP 47.
    pub locale: String,
    pub theme: Theme,
    /// Names of the dashboard's widgets in the order wanted; empty for the usual one.
    pub widgets: Vec<String>,
    /// 0 until the operator chooses something.
    pub version: u32,
    pub as_of: wire::Timestamp,
}

/// Types of the events that say a tenant may no longer work, or may again. The subject is the tenant.
pub const TENANT_SUSPENDED: &str = "melmastoon.tenant.tenant.suspended.v1";
pub const TENANT_REACTIVATED: &str = "melmastoon.tenant.tenant.reactivated.v1";

/// Data of both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TenantStatusChanged {
    /// An event without one is carried out too.
    #[serde(default)]
    pub reason: String,
}
