//! `GET /ai/suggestions`: advice that waits for somebody to decide. Without ai-orchestrator there
//! is none, and that is no failure.

use axum::response::Response;
use composer::compose::Told;
use composer::rules::AI_SUGGESTIONS;
use composer::snapshots::{Fetched, Reading};
use contracts::dashboard::WidgetStatus;
use contracts::id::PropertyId;
use contracts::role::{Role, RoleSet};
use contracts::suggestions::SuggestionList;
use contracts::upstream::ai::Suggestions;
use service_kit::problem::{ApiError, ApiResult};

use super::reading::PropertyQuery;
use crate::edge::{InProperty, Permission};
use crate::reads::Reads;

/// May decide what is suggested.
#[derive(Debug, Clone, Copy)]
pub struct Decides;

impl Permission for Decides {
    const ROLES: RoleSet = RoleSet::of(&[
        Role::TenantAdmin,
        Role::PropertyGm,
        Role::FrontDeskManager,
        Role::HousekeepingManager,
        Role::MaintenanceManager,
    ]);
}

/// What is suggested for a property.
///
/// 200 also while ai-orchestrator is away: with an empty list and `degraded: true`.
#[utoipa::path(
    get, path = "/ai/suggestions", tag = "ai", security(("dpop" = [])), params(PropertyQuery),
    responses((status = 200, body = SuggestionList), (status = 304), (status = "default", response = crate::openapi::AnyProblem)),
)]
pub async fn list_suggestions(
    in_property: InProperty<Decides>,
    reads: Reads,
) -> ApiResult<Response> {
    let property = in_property.property;
    let key = reads.key_in(&AI_SUGGESTIONS, property);
    let found = reads
        .read(&AI_SUGGESTIONS, key, move |upstreams, context| async move {
            let it = upstreams.suggestions(&context, property).await?;
            Ok(Fetched::new(it.property_id, it.as_of, &it))
        })
        .await;
    let reading = match found {
        Ok(reading) => Some(reading),
        Err(ApiError(away)) if away.status >= 500 => None,
        Err(refused) => return Err(refused),
    };
    Ok(reads.composed(&[told(reading.as_ref())], &shown(property, reading.as_ref())))
}

fn shown(property: PropertyId, reading: Option<&Reading>) -> SuggestionList {
    let none = SuggestionList { property_id: property, as_of: None, degraded: true, items: vec![] };
    let part = reading.and_then(|reading| reading.snapshot.part(0));
    let found = part.and_then(|part| serde_json::from_str::<Suggestions>(part.get()).ok());
    found.map_or(none, |found| SuggestionList {
        property_id: found.property_id,
        as_of: Some(found.as_of),
        degraded: false,
        items: found.items,
    })
}

fn told(reading: Option<&Reading>) -> Told {
    let status = reading.map_or(WidgetStatus::Unavailable, |_| WidgetStatus::Ok);
    Told {
        name: AI_SUGGESTIONS.name,
        upstream: AI_SUGGESTIONS.upstream,
        status,
        source: reading.map(|reading| reading.source),
        tag: reading.map_or(0, |reading| reading.snapshot.tag),
        took: reading.map(|reading| reading.took).unwrap_or_default(),
    }
}
