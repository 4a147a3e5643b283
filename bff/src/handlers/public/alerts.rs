//! `GET /alerts`: unacknowledged alerts of a property.

use axum::response::Response;
use composer::widgets::ALERTS;
use contracts::lists::AlertList;
use contracts::upstream::notification::{Alert, Alerts};
use service_kit::problem::ApiResult;

use crate::edge::{InProperty, PropertyQuery, SignedIn};
use crate::reads::cached_read::Reads;
use crate::reads::pagination::{PageQuery, Pagination};

/// The alerts of a property, the newest first.
///
/// While notification is unavailable, alerts up to five minutes old, with their age.
#[utoipa::path(
    get, path = "/alerts", tag = "alerts", params(PropertyQuery, PageQuery),
    responses((status = 200, body = AlertList), (status = 304)),
)]
pub(crate) async fn list_alerts(
    in_property: InProperty<SignedIn>,
    reads: Reads,
    pagination: Pagination,
) -> ApiResult<Response> {
    let read = &ALERTS.read;
    let (reading, Alerts { property_id, as_of, items }) =
        reads.content(read, in_property.property).await?;
    let (items, next_cursor) = pagination.page(items, |alert: &Alert| alert.alert_id.as_str())?;
    Ok(reads.respond(read, &reading, &AlertList { property_id, as_of, items, next_cursor }))
}
