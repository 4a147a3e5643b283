//! `POST /internal/jobs/sweep-idempotency`: deletes expired rows of the gateway's tables. The
//! gateway also does so hourly.
//!
//! Internal listener only, for the scheduler. Safe to run twice and concurrently.

use axum::extract::State;
use serde::Serialize;
use service_kit::extract::Json;
use service_kit::problem::ApiResult;
use service_kit::table_maintenance::SweepReport;

use crate::admin::table_maintenance::RETENTION;
use crate::problems::unavailable;
use crate::state::Gateway;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ran {
    /// False while another instance runs it.
    ran: bool,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    done: Option<SweepReport>,
}

pub async fn sweep(State(gateway): State<Gateway>) -> ApiResult<Json<Ran>> {
    let done = RETENTION.run(&gateway.database, &gateway.env.clock).await.map_err(unavailable)?;
    Ok(Json(Ran { ran: done.is_some(), done }))
}
