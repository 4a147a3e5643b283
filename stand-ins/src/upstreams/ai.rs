//! ai-orchestrator: what it advises, by rule.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use contracts::upstream::ai::{Provenance, Suggestion, Suggestions};
use service_kit::caller::Caller;
use service_kit::extract::{Json, Query};
use service_kit::problem::ApiResult;

use super::{OfProperty, Scene, Stage};
use crate::demo;

pub(super) fn router(scene: Scene) -> Router {
    Router::new()
        .route("/api/v1/ai/suggestions", get(suggestions))
        .with_state(Stage { scene, own: Arc::new(()) })
}

async fn suggestions(
    State(stage): State<Stage<()>>,
    caller: Caller,
    Query(of): Query<OfProperty>,
) -> ApiResult<Json<Suggestions>> {
    let property = stage.scene.property(&caller, of.property_id)?;
    let now = stage.scene.clock.now();
    let own = stage.scene.house.suggestions.iter().filter(|it| it.property_id == property.id);
    let items = own.filter(|it| it.advice.expires_at > now).map(on_the_wire).collect();
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
