//! `POST /internal/jobs/sweep-idempotency`: deletes expired idempotency keys, and with them whatever
//! else of the gateway's is past its time. The gateway does the same hourly by itself.
//!
//! On the internal listener alone, for the scheduler. Safe to run twice and at once.

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
    /// False when another instance is at it.
    ran: bool,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    done: Option<SweepReport>,
}

pub async fn sweep(State(gateway): State<Gateway>) -> ApiResult<Json<Ran>> {
    let done = RETENTION.run(&gateway.database, &gateway.env.clock).await.map_err(unavailable)?;
    Ok(Json(Ran { ran: done.is_some(), done }))
}
