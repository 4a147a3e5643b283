//! `POST /internal/jobs/<name>`: runs a job of the scheduler under its lease.
//!
//! Internal listener only, for the scheduler. Each is safe to run twice and concurrently. Not here: what
//! the jobs do, which stands with their subjects.

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use http::StatusCode;
use http::header::RETRY_AFTER;
use serde::Serialize;
use service_kit::extract::Json;
use service_kit::postgres::StoreError;
use service_kit::problem::ApiResult;
use service_kit::table_maintenance::{RetentionSweep, SweepReport};

use crate::admin::isolation_probe::{self, IsolationProbe, Outcome};
use crate::admin::table_maintenance::MAINTENANCE;
use crate::background::job::{self, Job};
use crate::edge::proof_only::ServiceCalls;
use crate::locks::reconcile::{LockReconciler, Reconciled};
use crate::locks::verify_chain::{ChainVerification, Verified};
use crate::problems::unavailable;
use crate::state::Gateway;
use crate::sync::cursors::reconcile::{Compared, CursorReconciler};

#[derive(Debug, Serialize)]
pub(crate) struct Ran<T> {
    /// False while another instance runs it.
    ran: bool,
    #[serde(flatten)]
    done: Option<T>,
}

type Response<T> = ApiResult<Json<Ran<T>>>;

fn response<T>(done: Result<Option<T>, StoreError>) -> Response<T> {
    let done = done.map_err(unavailable)?;
    Ok(Json(Ran { ran: done.is_some(), done }))
}

async fn run<J: Job>(gateway: &Gateway, job: J) -> Result<Option<J::Status>, StoreError> {
    job::run(&gateway.background, &gateway.database, &gateway.env.entropy, job).await
}

/// 503 if a store could not be probed, with what was found in the others, so that the scheduler tries
/// again: after the lease, which a store that failed may still hold. A leak is 200: the probe worked.
pub(crate) async fn probe_isolation(
    State(gateway): State<Gateway>,
) -> ApiResult<http::Response<Body>> {
    let probe = IsolationProbe {
        database: gateway.database.clone(),
        session_redis: gateway.session_redis.clone(),
        profiles: gateway.profiles.clone(),
        snapshots: gateway.composer.snapshots().clone(),
        env: gateway.env.clone(),
    };
    let ran = run(&gateway, probe).await.inspect_err(|_| isolation_probe::count(Outcome::Failed));
    let ran = response(ran)?;
    let is_failed = ran.0.done.as_ref().is_some_and(|probed| probed.outcome == Outcome::Failed);
    if is_failed {
        let after = IsolationProbe::LEASE.unwrap_or_default().as_secs();
        let headers = [(RETRY_AFTER, after.to_string())];
        return Ok((StatusCode::SERVICE_UNAVAILABLE, headers, ran).into_response());
    }
    Ok(ran.into_response())
}

pub(crate) async fn reconcile_cursors(
    State(gateway): State<Gateway>,
    calls: ServiceCalls,
) -> Response<Compared> {
    response(run(&gateway, CursorReconciler { gateway: gateway.clone(), calls }).await)
}

pub(crate) async fn reconcile_locks(
    State(gateway): State<Gateway>,
    calls: ServiceCalls,
) -> Response<Reconciled> {
    response(run(&gateway, LockReconciler { gateway: gateway.clone(), calls }).await)
}

/// Without a lease it always runs, so the response does not say whether it did.
pub(crate) async fn verify_lock_audit(
    State(gateway): State<Gateway>,
) -> ApiResult<Json<Option<Verified>>> {
    let done = run(&gateway, ChainVerification { database: gateway.database.clone() }).await;
    Ok(Json(done.map_err(unavailable)?))
}

pub(crate) async fn sweep_idempotency(State(gateway): State<Gateway>) -> Response<SweepReport> {
    let (database, clock) = (gateway.database.clone(), gateway.env.clock.clone());
    let done = run(&gateway, RetentionSweep { maintenance: MAINTENANCE, database, clock }).await;
    response(done.map(Option::flatten))
}
