//! `GET /maintenance/board`: work orders by state.

use axum::response::Response;
use composer::property_read::{PropertyRead, fetch};
use composer::read_policy::ReadPolicy;
use contracts::upstream::Upstream;
use contracts::upstream::maintenance::MaintenanceBoard;
use service_kit::problem::ApiResult;

use crate::edge::{InProperty, PropertyQuery, SignedIn};
use crate::reads::cached_read::Reads;

static BOARD: PropertyRead = PropertyRead {
    policy: ReadPolicy::new("maintenanceBoard", Upstream::Maintenance, 500)
        .fresh_secs(10)
        .stale_secs(300),
    call: |to| fetch(async move { to.upstreams.maintenance_board(&to.context, to.property).await }),
};

/// The work orders of a property by state.
#[utoipa::path(
    get, path = "/maintenance/board", tag = "maintenance", params(PropertyQuery),
    responses((status = 200, body = MaintenanceBoard), (status = 304)),
)]
pub(crate) async fn get_board(
    in_property: InProperty<SignedIn>,
    reads: Reads,
) -> ApiResult<Response> {
    reads.serve(&BOARD, in_property.property).await
}
