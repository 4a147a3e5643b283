//! ai-orchestrator: `GET /api/v1/ai/suggestions?propertyId=`. All it says is advice: nothing is
//! done before a person decides.

use serde::{Deserialize, Serialize};

use crate::clock::wire;
use crate::id::{PropertyId, SuggestionId};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Suggestions {
    pub property_id: PropertyId,
    pub as_of: wire::Timestamp,
    /// Neither decided nor expired, the surest first.
    pub items: Vec<Suggestion>,
}

stamped!(Suggestions);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SuggestionKind {
    OverbookingWarning,
    RateChange,
    HousekeepingOrder,
    MaintenancePriority,
    GuestHandling,
    Staffing,
    AuditAnomaly,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Suggestion {
    pub suggestion_id: SuggestionId,
    pub kind: SuggestionKind,
    pub title: String,
    /// Why, in sentences for the person who decides.
    pub rationale: String,
    /// 0 to 1.
    pub confidence: f64,
    pub expires_at: wire::Timestamp,
    pub provenance: Provenance,
}

/// Who thought of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Provenance {
    pub model: String,
    pub version: String,
}
