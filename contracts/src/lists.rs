//! Paginated lists as the desktop receives them (gateway-api section 4). `nextCursor` is the `cursor` of
//! the next page, `null` on the last.

use serde::{Deserialize, Serialize};

use crate::clock::wire;
use crate::id::PropertyId;
use crate::upstream::ai::Suggestion;
use crate::upstream::notification::Alert;
use crate::upstream::staff::Shift;

/// Alerts that nobody has acknowledged yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AlertList {
    pub property_id: PropertyId,
    pub as_of: wire::Timestamp,
    /// The newest first.
    pub items: Vec<Alert>,
    pub next_cursor: Option<String>,
}

/// Advice, which is left out rather than shown old.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SuggestionList {
    pub property_id: PropertyId,
    /// When the list was true; absent while nobody can say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<wire::Timestamp>,
    /// True when ai-orchestrator could not be asked: then the list is empty and says nothing.
    pub degraded: bool,
    /// Neither decided nor expired, the surest first.
    pub items: Vec<Suggestion>,
    pub next_cursor: Option<String>,
}

/// The shifts that begin on a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShiftList {
    pub property_id: PropertyId,
    /// IANA name.
    pub time_zone: String,
    pub as_of: wire::Timestamp,
    /// In the property's time zone.
    pub date: wire::Date,
    /// By department, then start.
    pub items: Vec<Shift>,
    pub next_cursor: Option<String>,
}
