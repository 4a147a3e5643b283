//! `GET /housekeeping/board`: room statuses and tasks.

use axum::response::Response;
use composer::property_read::{PropertyRead, fetch};
use composer::read_policy::ReadPolicy;
use contracts::upstream::Upstream;
use contracts::upstream::housekeeping::Board;
use service_kit::problem::ApiResult;

use crate::edge::{InProperty, PropertyQuery, SignedIn};
use crate::reads::cached_read::Reads;

static BOARD: PropertyRead = PropertyRead {
    policy: ReadPolicy::new("housekeepingBoard", Upstream::Housekeeping, 500)
        .fresh_secs(10)
        .stale_secs(300)
        .of_today(),
    call: |to| {
        fetch(async move { to.upstreams.housekeeping_board(&to.context, to.property).await })
    },
};

/// Every room in the column of its status. While housekeeping is unavailable, a cached board with
/// its `Age`.
#[utoipa::path(
    get, path = "/housekeeping/board", tag = "housekeeping", params(PropertyQuery),
    responses((status = 200, body = Board), (status = 304)),
)]
pub(crate) async fn get_board(
    in_property: InProperty<SignedIn>,
    reads: Reads,
) -> ApiResult<Response> {
    reads.serve(&BOARD, in_property.property).await
}
