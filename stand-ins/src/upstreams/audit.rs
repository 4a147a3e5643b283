//! audit: what operators did at a property, as the ledger of effects has it.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use contracts::id::PropertyId;
use contracts::upstream::audit::{AuditEntries, AuditEntry};
use serde::Deserialize;
use service_kit::caller::Caller;
use service_kit::extract::{Json, Query};
use service_kit::problem::ApiResult;

use super::{Folios, Scene, Stage};
use crate::ledger::Effect;

const MOST: usize = 100;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    property_id: PropertyId,
    limit: Option<usize>,
}

pub(super) fn router(scene: Scene, folios: Arc<Folios>) -> Router {
    Router::new()
        .route("/api/v1/audit/entries", get(entries))
        .with_state(Stage { scene, own: folios })
}

async fn entries(
    State(stage): State<Stage<Folios>>,
    caller: Caller,
    Query(asked): Query<Asked>,
) -> ApiResult<Json<AuditEntries>> {
    let property = stage.scene.property(&caller, asked.property_id)?;
    let effects = stage.scene.ledger.effects(None);
    let own = effects.into_iter().rev().filter(|it| stage.property_of(it) == Some(property.id));
    let items = own.filter_map(entry).take(asked.limit.unwrap_or(MOST).min(MOST)).collect();
    Ok(Json(AuditEntries { property_id: property.id, as_of: stage.scene.clock.now(), items }))
}

/// What nobody did, the platform did itself.
fn entry(effect: Effect) -> Option<AuditEntry> {
    Some(AuditEntry {
        at: effect.at,
        operator_id: effect.operator_id?,
        action: effect.action.to_owned(),
        subject: effect.subject,
    })
}

impl Stage<Folios> {
    /// Where the subject is. What belongs to no property, as a session, is audited elsewhere.
    fn property_of(&self, effect: &Effect) -> Option<PropertyId> {
        let of_stay = |id| {
            let mut stays = self.scene.house.reservations.iter();
            stays.find(|stay| stay.id == id).map(|stay| stay.property_id)
        };
        let stay = effect.subject.parse().ok().and_then(of_stay);
        stay.or_else(|| self.own.property(effect.subject.parse().ok()?))
    }
}
