//! Paginated lists as the desktop receives them (gateway-api section 4). `nextCursor` is the `cursor` of
//! the next page, `null` on the last.

use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};

use crate::id::PropertyId;
use crate::upstream::ai::Suggestion;
use crate::upstream::notification::Alert;
use crate::upstream::staff::Shift;

/// Alerts that nobody has acknowledged yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AlertList {
    pub property_id: PropertyId,
    #[serde(with = "crate::clock::wire")]
    pub as_of: Timestamp,
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
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::clock::wire::option")]
    pub as_of: Option<Timestamp>,
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
    #[serde(with = "crate::clock::wire")]
    pub as_of: Timestamp,
    /// In the property's time zone.
    #[serde(deserialize_with = "crate::clock::wire_date")]
    pub date: Date,
    /// By department, then start.
    pub items: Vec<Shift>,
    pub next_cursor: Option<String>,
}
