//! `GET /maintenance/board`: work orders by state.

use axum::response::Response;
use composer::read_policies::MAINTENANCE_BOARD;
use composer::snapshots::Fetched;
use contracts::upstream::maintenance::MaintenanceBoard;
use service_kit::problem::ApiResult;

use crate::edge::{InProperty, SignedIn};
use crate::reads::cached_read::Reads;
use crate::reads::params::PropertyQuery;

/// The work orders of a property by state.
#[utoipa::path(
    get, path = "/maintenance/board", tag = "maintenance", security(("dpop" = [])), params(PropertyQuery),
    responses((status = 200, body = MaintenanceBoard), (status = 304), (status = "default", response = crate::problems::AnyProblem)),
)]
pub async fn get_board(in_property: InProperty<SignedIn>, reads: Reads) -> ApiResult<Response> {
    let property = in_property.property;
    let key = reads.key_in(&MAINTENANCE_BOARD, property);
    reads
        .serve(&MAINTENANCE_BOARD, key, move |upstreams, context| async move {
            let body = upstreams.maintenance_board(&context, property).await?;
            Ok(Fetched::new(body.property_id, body.as_of, &body))
        })
        .await
}
