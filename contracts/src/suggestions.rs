//! Suggestions as the desktop receives them: advice, which is left out rather than shown old.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::PropertyId;
use crate::upstream::ai::Suggestion;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SuggestionList {
    pub property_id: PropertyId,
    /// When the list was true; absent while nobody can say.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::clock::wire::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub as_of: Option<Timestamp>,
    /// True when ai-orchestrator could not be asked: then the list is empty and says nothing.
    pub degraded: bool,
    /// Neither decided nor expired, the surest first.
    pub items: Vec<Suggestion>,
}
