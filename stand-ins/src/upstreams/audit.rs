//! audit: what operators did at a property, from the recorded effects.

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

use super::{Folios, UpstreamContext, UpstreamState};
use crate::effects::Effect;

const MAX_ENTRIES: usize = 100;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct EntriesQuery {
    property_id: PropertyId,
    limit: Option<usize>,
}

pub(super) fn router(context: UpstreamContext, folios: Arc<Folios>) -> Router {
    Router::new()
        .route("/api/v1/audit/entries", get(entries))
        .with_state(UpstreamState { context, own: folios })
}

async fn entries(
    State(state): State<UpstreamState<Folios>>,
    caller: Caller,
    Query(query): Query<EntriesQuery>,
) -> ApiResult<Json<AuditEntries>> {
    let property = state.context.property(&caller, query.property_id)?;
    let effects = state.context.effects.effects(None);
    let own =
        effects.into_iter().rev().filter(|effect| state.property_of(effect) == Some(property.id));
    let items =
        own.filter_map(entry).take(query.limit.unwrap_or(MAX_ENTRIES).min(MAX_ENTRIES)).collect();
    Ok(Json(AuditEntries { property_id: property.id, as_of: state.context.env.now(), items }))
}

/// `None` for effects without an operator: the platform caused them itself.
fn entry(effect: Effect) -> Option<AuditEntry> {
    Some(AuditEntry {
        at: effect.at,
        operator_id: effect.operator_id?,
        action: effect.action.to_owned(),
        subject: effect.subject,
    })
}

impl UpstreamState<Folios> {
    /// The property of the subject; `None` for subjects without one, such as sessions.
    fn property_of(&self, effect: &Effect) -> Option<PropertyId> {
        let of_stay = |id| {
            let mut stays = self.context.demo.reservations.iter();
            stays.find(|stay| stay.id == id).map(|stay| stay.property_id)
        };
        let stay = effect.subject.parse().ok().and_then(of_stay);
        stay.or_else(|| self.own.property(effect.subject.parse().ok()?))
    }
}
