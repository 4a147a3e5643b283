//! audit: `GET /api/v1/audit/entries?propertyId=&limit=`: what was done at a property, by whom.

use serde::{Deserialize, Serialize};

use crate::clock::wire;
use crate::id::{OperatorId, PropertyId};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntries {
    pub property_id: PropertyId,
    pub as_of: wire::Timestamp,
    /// The newest first.
    pub items: Vec<AuditEntry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    pub at: wire::Timestamp,
    pub operator_id: OperatorId,
    /// `folio.refunded`
    pub action: String,
    /// Id of what was changed.
    pub subject: String,
}
