//! `GET` and `POST /sync/cursor`: the cached cursor of the caller's own desktop.

use axum::extract::State;
use contracts::env::Env;
use contracts::sync::{AdvanceCursor, CachedCursor, LARGEST_VERSION, SyncCursor};
use service_kit::extract::Json;
use service_kit::postgres::Database;
use service_kit::problem::{ApiError, ApiResult};

use crate::edge::{Caller, SignedIn};
use crate::problems::unavailable;
use crate::sync::cursors::{Noted, advance, cached};

/// Read the cursor.
///
/// What the gateway last heard of this desktop; sync-service is the authority, and a handshake asks it.
#[utoipa::path(
    get, path = "/sync/cursor", tag = "sync", security(("dpop" = [])),
    responses((status = 200, body = CachedCursor), (status = "default", response = crate::problems::AnyProblem)),
)]
pub async fn get_cursor(
    caller: Caller<SignedIn>,
    State(database): State<Database>,
) -> ApiResult<Json<CachedCursor>> {
    let own = (caller.principal.tenant, caller.principal.device);
    Ok(Json(cached(&database, own).await.map_err(unavailable)?))
}

/// Move the cursor on.
///
/// After a pull from sync-service. It never goes back, so a report may be repeated and may come late;
/// the answer is where it stands.
#[utoipa::path(
    post, path = "/sync/cursor", tag = "sync", security(("dpop" = [])), request_body = AdvanceCursor,
    responses((status = 200, body = CachedCursor), (status = "default", response = crate::problems::AnyProblem)),
)]
pub async fn advance_cursor(
    caller: Caller<SignedIn>,
    State(database): State<Database>,
    State(env): State<Env>,
    Json(body): Json<AdvanceCursor>,
) -> ApiResult<Json<CachedCursor>> {
    let (own, at) = ((caller.principal.tenant, caller.principal.device), env.now());
    let cursor = SyncCursor { version: version("body.version", body.version)?, at };
    let noted = Noted { principal: caller.principal, cursor, at, property: None };
    advance(&database, &noted, &env).await.map_err(unavailable)?;
    Ok(Json(cached(&database, own).await.map_err(unavailable)?))
}

/// A version that every JSON parser reads exactly.
pub(super) fn version(field: &str, given: u64) -> ApiResult<u64> {
    let detail = "Send the version as sync-service told it.";
    let is_good = given <= LARGEST_VERSION;
    is_good.then_some(given).ok_or_else(|| ApiError::field(field, "INVALID", detail))
}
