//! notification: alerts that nobody has acknowledged.

use contracts::upstream::notification::Alerts;
use service_kit::extract::{Json, Query};

use super::{LimitQuery, PropertyRead};

pub(super) async fn alerts(
    PropertyRead { platform, property, now }: PropertyRead,
    Query(query): Query<LimitQuery>,
) -> Json<Alerts> {
    let own = platform.demo.alerts.iter().filter(|one| one.property_id == property.id);
    let items = own.map(|one| one.item.clone()).take(query.limit()).collect();
    Json(Alerts { property_id: property.id, as_of: now.into(), items })
}
