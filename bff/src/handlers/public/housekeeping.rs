//! `GET /housekeeping/board`: which rooms are how, and what is to be done in them.

use axum::response::Response;
use composer::read_policies::HOUSEKEEPING_BOARD;
use composer::snapshots::Fetched;
use contracts::upstream::housekeeping::Board;
use service_kit::problem::ApiResult;

use crate::edge::{InProperty, SignedIn};
use crate::reads::cached_read::Reads;
use crate::reads::params::PropertyQuery;

/// Every room in the column of its status. While housekeeping is away it is that of before, with
/// its `Age`.
#[utoipa::path(
    get, path = "/housekeeping/board", tag = "housekeeping", security(("dpop" = [])), params(PropertyQuery),
    responses((status = 200, body = Board), (status = 304), (status = "default", response = crate::problems::AnyProblem)),
)]
pub async fn get_board(in_property: InProperty<SignedIn>, reads: Reads) -> ApiResult<Response> {
    let property = in_property.property;
    let key = reads.key_in(&HOUSEKEEPING_BOARD, property);
    reads
        .answer(&HOUSEKEEPING_BOARD, key, move |upstreams, context| async move {
            let it = upstreams.housekeeping_board(&context, property).await?;
            Ok(Fetched::new(it.property_id, it.as_of, &it))
        })
        .await
}
