//! `GET` and `POST /sync/cursor`: the cached cursor of the caller's own desktop.

use auth::Principal;
use axum::extract::State;
use contracts::env::Env;
use contracts::sync::{AdvanceCursor, CachedCursor, SyncCursor};
use service_kit::extract::Json;
use service_kit::postgres::Database;
use service_kit::problem::ApiResult;

use crate::edge::{Caller, SignedIn};
use crate::problems::unavailable;
use crate::sync::cursors::{CursorReport, advance, cached};

/// Read the cursor.
///
/// The desktop's last known cursor. sync-service is the authority; a handshake asks it.
#[utoipa::path(
    get, path = "/sync/cursor", tag = "sync",
    responses((status = 200, body = CachedCursor)),
)]
pub(crate) async fn get_cursor(
    caller: Caller<SignedIn>,
    State(database): State<Database>,
) -> ApiResult<Json<CachedCursor>> {
    let Principal { tenant, device, .. } = *caller.principal;
    Ok(Json(cached(&database, tenant, device).await.map_err(unavailable)?))
}

/// Advance the cursor.
///
/// After a pull from sync-service. The cursor never goes back, so a report may be repeated or late; the
/// response has the current one.
#[utoipa::path(
    post, path = "/sync/cursor", tag = "sync", request_body = AdvanceCursor,
    responses((status = 200, body = CachedCursor)),
)]
pub(crate) async fn advance_cursor(
    caller: Caller<SignedIn>,
    State(database): State<Database>,
    State(env): State<Env>,
    Json(body): Json<AdvanceCursor>,
) -> ApiResult<Json<CachedCursor>> {
    let Principal { tenant, device, .. } = *caller.principal;
    let at = env.now();
    let cursor = SyncCursor { version: body.version, at: at.into() };
    let report = CursorReport { principal: caller.principal, cursor, at, property: None };
    advance(&database, &report, &env).await.map_err(unavailable)?;
    Ok(Json(cached(&database, tenant, device).await.map_err(unavailable)?))
}
