//! `GET /ai/suggestions`: suggestions that await a decision. While ai-orchestrator is unavailable
//! the list is empty and `degraded`.

use axum::response::Response;
use composer::result::WidgetOrigin;
use composer::snapshots::Reading;
use composer::widgets::AI_SUGGESTIONS;
use contracts::dashboard::WidgetStatus;
use contracts::id::PropertyId;
use contracts::lists::SuggestionList;
use contracts::upstream::ai::{Suggestion, Suggestions};
use service_kit::problem::{ApiError, ApiResult};

use crate::edge::permissions::DecideSuggestions;
use crate::edge::{InProperty, PropertyQuery};
use crate::reads::cached_read::Reads;
use crate::reads::pagination::{PageQuery, Pagination};

/// AI suggestions for a property.
///
/// 200 also while ai-orchestrator is unavailable, with an empty list and `degraded: true`.
#[utoipa::path(
    get, path = "/ai/suggestions", tag = "ai", params(PropertyQuery, PageQuery),
    responses((status = 200, body = SuggestionList), (status = 304)),
)]
pub(crate) async fn list_suggestions(
    in_property: InProperty<DecideSuggestions>,
    reads: Reads,
    pagination: Pagination,
) -> ApiResult<Response> {
    let property = in_property.property;
    match reads.content(&AI_SUGGESTIONS.read, property).await {
        Ok((reading, found)) => {
            let list = suggestion_page(found, &pagination)?;
            Ok(reads.respond_composed(&[origin(Some(&reading))], &list))
        }
        Err(ApiError(error)) if error.status >= 500 => {
            Ok(reads.respond_composed(&[origin(None)], &degraded_list(property)))
        }
        Err(refused) => Err(refused),
    }
}

fn suggestion_page(found: Suggestions, pagination: &Pagination) -> ApiResult<SuggestionList> {
    let Suggestions { property_id, as_of, items } = found;
    let (items, next_cursor) =
        pagination.page(items, |body: &Suggestion| body.suggestion_id.as_str())?;
    Ok(SuggestionList { property_id, as_of: Some(as_of), degraded: false, items, next_cursor })
}

fn degraded_list(property_id: PropertyId) -> SuggestionList {
    SuggestionList { property_id, as_of: None, degraded: true, items: vec![], next_cursor: None }
}

fn origin(reading: Option<&Reading>) -> WidgetOrigin {
    let status = reading.map_or(WidgetStatus::Unavailable, |_| WidgetStatus::Ok);
    WidgetOrigin {
        name: AI_SUGGESTIONS.name,
        upstream: AI_SUGGESTIONS.read.policy.upstream,
        status,
        source: reading.map(|reading| reading.source),
        tag: reading.map_or(0, |reading| reading.snapshot.tag),
        took: reading.map(|reading| reading.took).unwrap_or_default(),
    }
}
