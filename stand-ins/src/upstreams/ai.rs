//! ai-orchestrator: suggestions, made by rules instead of a model.

use contracts::upstream::ai::Suggestions;
use service_kit::extract::Json;

use super::PropertyRead;

pub(super) async fn suggestions(
    PropertyRead { platform, property, now }: PropertyRead,
) -> Json<Suggestions> {
    let own = platform.demo.suggestions.iter().filter(|one| one.property_id == property.id);
    let items = own.map(|one| &one.item).filter(|one| *one.expires_at > now).cloned();
    Json(Suggestions { property_id: property.id, as_of: now.into(), items: items.collect() })
}
