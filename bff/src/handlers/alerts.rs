//! `GET /alerts`: what the house must know and nobody has acknowledged yet.

use axum::response::Response;
use composer::rules::ALERTS;
use composer::snapshots::Fetched;
use contracts::upstream::notification::Alerts;
use service_kit::problem::ApiResult;

use super::reading::PropertyQuery;
use crate::edge::{InProperty, SignedIn};
use crate::reads::Reads;

/// The alerts of a property, the newest first.
///
/// While notification is away, those of up to five minutes ago, with their age.
#[utoipa::path(
    get, path = "/alerts", tag = "alerts", security(("dpop" = [])), params(PropertyQuery),
    responses((status = 200, body = Alerts), (status = 304), (status = "default", response = crate::openapi::AnyProblem)),
)]
pub async fn list_alerts(in_property: InProperty<SignedIn>, reads: Reads) -> ApiResult<Response> {
    let property = in_property.property;
    reads
        .answer(&ALERTS, reads.key_in(&ALERTS, property), move |upstreams, context| async move {
            let it = upstreams.alerts(&context, property).await?;
            Ok(Fetched::new(it.property_id, it.as_of, &it))
        })
        .await
}
