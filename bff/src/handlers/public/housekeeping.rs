//! `GET /housekeeping/board`: room statuses and tasks.

use axum::response::Response;
use composer::read_policies::HOUSEKEEPING_BOARD;
use composer::snapshots::Fetched;
use contracts::upstream::housekeeping::Board;
use service_kit::problem::ApiResult;

use crate::edge::{InProperty, SignedIn};
use crate::reads::cached_read::Reads;
use crate::reads::params::PropertyQuery;

/// Every room in the column of its status. While housekeeping is unavailable, a cached board with
/// its `Age`.
#[utoipa::path(
    get, path = "/housekeeping/board", tag = "housekeeping", security(("dpop" = [])), params(PropertyQuery),
    responses((status = 200, body = Board), (status = 304), (status = "default", response = crate::problems::AnyProblem)),
)]
pub async fn get_board(in_property: InProperty<SignedIn>, reads: Reads) -> ApiResult<Response> {
    let property = in_property.property;
    let key = reads.key_in(&HOUSEKEEPING_BOARD, property);
    reads
        .serve(&HOUSEKEEPING_BOARD, key, move |upstreams, context| async move {
            let body = upstreams.housekeeping_board(&context, property).await?;
            Ok(Fetched::new(body.property_id, body.as_of, &body))
        })
        .await
}
