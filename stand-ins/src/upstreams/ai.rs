//! ai-orchestrator: suggestions, made by rules instead of a model.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use contracts::upstream::ai::Suggestions;
use service_kit::extract::Json;

use super::{Platform, UpstreamState};
use crate::demo::Property;

pub(super) fn routes() -> Router<UpstreamState> {
    Router::new().route("/api/v1/ai/suggestions", get(suggestions))
}

async fn suggestions(
    State(platform): State<Arc<Platform>>,
    property: Property,
) -> Json<Suggestions> {
    let now = platform.env.now();
    let own = platform.demo.suggestions.iter().filter(|one| one.property_id == property.id);
    let items = own.map(|one| &one.item).filter(|one| one.expires_at > now).cloned();
    Json(Suggestions { property_id: property.id, as_of: now, items: items.collect() })
}
