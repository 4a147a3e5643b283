//! `GET /alerts`: unacknowledged alerts of a property.

use axum::response::Response;
use composer::read_policies::ALERTS;
use composer::snapshots::Fetched;
use contracts::lists::AlertList;
use contracts::upstream::notification::{Alert, Alerts};
use service_kit::problem::ApiResult;

use crate::edge::{InProperty, SignedIn};
use crate::reads::cached_read::Reads;
use crate::reads::pagination::{PageQuery, Pagination};
use crate::reads::params::PropertyQuery;

/// The alerts of a property, the newest first.
///
/// While notification is unavailable, alerts up to five minutes old, with their age.
#[utoipa::path(
    get, path = "/alerts", tag = "alerts", security(("dpop" = [])), params(PropertyQuery, PageQuery),
    responses((status = 200, body = AlertList), (status = 304), (status = "default", response = crate::problems::AnyProblem)),
)]
pub async fn list_alerts(
    in_property: InProperty<SignedIn>,
    reads: Reads,
    pagination: Pagination,
) -> ApiResult<Response> {
    let property = in_property.property;
    let key = reads.key_in(&ALERTS, property);
    let (reading, Alerts { property_id, as_of, items }) = reads
        .content(&ALERTS, key, move |upstreams, context| async move {
            let body = upstreams.alerts(&context, property).await?;
            Ok(Fetched::new(body.property_id, body.as_of, &body))
        })
        .await?;
    let (items, next_cursor) = pagination.page(items, |alert: &Alert| alert.alert_id.as_str())?;
    Ok(reads.respond(&ALERTS, &reading, &AlertList { property_id, as_of, items, next_cursor }))
}
