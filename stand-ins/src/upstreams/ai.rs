//! ai-orchestrator: suggestions, made by rules instead of a model.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use contracts::upstream::ai::{Provenance, Suggestion, Suggestions};
use service_kit::caller::Caller;
use service_kit::extract::{Json, Query};
use service_kit::problem::ApiResult;

use super::{PropertyQuery, UpstreamContext, UpstreamState};
use crate::demo;

pub(super) fn router(context: UpstreamContext) -> Router {
    Router::new()
        .route("/api/v1/ai/suggestions", get(suggestions))
        .with_state(UpstreamState { context, own: Arc::new(()) })
}

async fn suggestions(
    State(state): State<UpstreamState<()>>,
    caller: Caller,
    Query(query): Query<PropertyQuery>,
) -> ApiResult<Json<Suggestions>> {
    let property = state.context.property(&caller, query.property_id)?;
    let now = state.context.env.now();
    let own = state
        .context
        .demo
        .suggestions
        .iter()
        .filter(|suggestion| suggestion.property_id == property.id);
    let items =
        own.filter(|suggestion| suggestion.advice.expires_at > now).map(on_the_wire).collect();
    Ok(Json(Suggestions { property_id: property.id, as_of: now, items }))
}

fn on_the_wire(suggestion: &demo::Suggestion) -> Suggestion {
    let advice = &suggestion.advice;
    Suggestion {
        suggestion_id: suggestion.id,
        kind: advice.kind,
        title: advice.title.clone(),
        rationale: advice.rationale.clone(),
        confidence: advice.confidence,
        expires_at: advice.expires_at,
        provenance: Provenance { model: "rules".to_owned(), version: "1".to_owned() },
    }
}
