//! audit: what operators did at a property, from the recorded effects.

use contracts::id::PropertyId;
use contracts::upstream::audit::{AuditEntries, AuditEntry};
use service_kit::extract::{Json, Query};

use super::{LimitQuery, Platform, PropertyRead};
use crate::effects::Effect;

pub(super) async fn entries(
    PropertyRead { platform, property, now }: PropertyRead,
    Query(query): Query<LimitQuery>,
) -> Json<AuditEntries> {
    let effects = platform.effects.effects(None).into_iter().rev();
    let own = effects.filter(|effect| property_of(effect, &platform) == Some(property.id));
    let items = own.filter_map(entry).take(query.limit()).collect();
    Json(AuditEntries { property_id: property.id, as_of: now.into(), items })
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

/// The property of the subject; `None` for subjects without one, such as sessions.
fn property_of(effect: &Effect, platform: &Platform) -> Option<PropertyId> {
    let of_stay = |id| {
        let mut stays = platform.demo.reservations.iter();
        stays.find(|stay| stay.id == id).map(|stay| stay.property_id)
    };
    let stay = effect.subject.parse().ok().and_then(of_stay);
    stay.or_else(|| platform.folios.property(effect.subject.parse().ok()?))
}
