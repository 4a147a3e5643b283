//! `POST /sync/handshake`: a desktop that comes back online is told from where to go on, and is given
//! a token for its transfers with sync-service, which do not pass through here.
//!
//! sync-service's cursor replaces the cached one, whatever that was. Without sync-service the desktop
//! stays offline and tries again every 30 s (row F-13).

use std::time::Duration;

use auth::Principal;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use contracts::problem::{Problem, code};
use contracts::safeguard::{Safeguard, time_limit};
use contracts::sync::{HandshakeBody, LARGEST_VERSION, SyncCursor, SyncSession};
use contracts::upstream::Upstream;
use contracts::upstream::sync::{CURSOR_EXPIRED, Handshake, HandshakeRequest};
use http::header::CACHE_CONTROL;
use metrics::counter;
use service_kit::extract::Json;
use service_kit::problem::{ApiError, ApiResult};
use upstream_clients::CallError;

use super::sync_cursor::version;
use crate::edge::{Caller, CallerContext, SignedIn};
use crate::problems::upstream;
use crate::state::Gateway;
use crate::sync::cursors::Noted;
use crate::sync::cursors::cursor_writer::note;

/// From the request's first byte on: one attempt of sync-service and a repeat of one that was refused
/// at once. Its p95 is to be below 300 ms (gateway-api section 10).
const ASKED_FOR: Duration = Duration::from_millis(800);
/// Seconds (row F-13).
const AGAIN_AFTER: u64 = 30;
const RUNBOOK: &str = "bff-backoffice/sync-handshake-down";

/// Come back online.
///
/// Asks sync-service where this desktop stands. 410 `SYNC_CURSOR_EXPIRED`: shake hands again without a
/// cursor, forget what the desktop has and pull everything. 502, 503 and 504: work offline and try
/// again after `Retry-After`.
#[utoipa::path(
    post, path = "/sync/handshake", tag = "sync", security(("dpop" = [])), request_body = HandshakeBody,
    responses((status = 200, body = SyncSession), (status = "default", response = crate::problems::AnyProblem)),
)]
pub async fn shake_hands(
    caller: Caller<SignedIn>,
    calls: CallerContext,
    State(gateway): State<Gateway>,
    Json(body): Json<HandshakeBody>,
) -> ApiResult<Response> {
    let has = body.cursor_version.map(|has| version("body.cursorVersion", has)).transpose()?;
    let context = calls.with_deadline(calls.received() + asked_for());
    let key = format!("{:032x}", gateway.env.entropy.u128());
    let asked = (key.as_str(), HandshakeRequest { cursor_version: has });
    let told = gateway.upstreams.handshake(&context, asked).await;
    let told = told.map_err(|error| not_shaken(&error))?;
    let principal = &caller.principal;
    check(principal, &told)?;
    let token = gateway.request_tokens.sync_session(principal, Upstream::Sync.name());
    let token = token.ok_or_else(|| {
        ApiError::new(&code::TOKEN_INVALID, "The access token is bound to no key. Sign in again.")
    })?;
    let cursor = SyncCursor { version: told.cursor.version, at: told.cursor.last_pull_at };
    let (property, at) = (Some(told.property_id), gateway.env.now());
    note(&gateway, Noted { principal: caller.principal, cursor, at, property }).await;
    count("ok");
    let session = SyncSession {
        sync_session_token: token.text,
        expires_at: token.expires_at,
        cursor,
        pull_url: told.pull_url,
        push_url: told.push_url,
        full_resync: told.full_resync,
    };
    Ok(([(CACHE_CONTROL, "no-store")], Json(session)).into_response())
}

fn asked_for() -> Duration {
    time_limit(Safeguard::HandshakeDeadline, ASKED_FOR)
}

fn count(outcome: &'static str) {
    counter!("bff_backoffice_sync_handshake_total", "outcome" => outcome).increment(1);
}

/// What is passed on is this desktop's, and fits the wire.
fn check(principal: &Principal, told: &Handshake) -> ApiResult<()> {
    if told.cursor.device_id == principal.device && told.cursor.version <= LARGEST_VERSION {
        return Ok(());
    }
    count("drifted");
    counter!("bff_backoffice_upstream_schema_drift_total", "upstream" => Upstream::Sync.name())
        .increment(1);
    tracing::error!(
        "sync-service answered a handshake with a cursor that cannot be this desktop's."
    );
    Err(retried(upstream::drifted(Upstream::Sync)))
}

/// sync-service's own word about the cursor, or what kept it away.
fn not_shaken(error: &CallError) -> ApiError {
    if let CallError::Status { status: 410, problem: Some(own) } = error
        && own.code == CURSOR_EXPIRED
    {
        count("expired");
        return ApiError::new(
            &code::SYNC_CURSOR_EXPIRED,
            "The desktop was away for too long. Shake hands again without a cursor and pull everything.",
        );
    }
    let is_refusal = upstream::is_a_refusal(error);
    count(if is_refusal { "refused" } else { "failed" });
    let problem = upstream::problem(Upstream::Sync, error);
    if is_refusal { problem } else { retried(problem) }
}

/// Whatever it was, the desktop comes again.
fn retried(ApiError(problem): ApiError) -> ApiError {
    let runbook = problem.runbook.clone().or_else(|| Some(RUNBOOK.into()));
    Problem { runbook, retriable: true, ..problem.with_retry_after(AGAIN_AFTER) }.into()
}
