//! `POST /sync/handshake`: returns a reconnecting desktop's cursor and a token for its transfers
//! with sync-service, which do not pass through the gateway.
//!
//! sync-service's cursor replaces the cached one. While sync-service is unavailable the desktop
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

use crate::edge::{Caller, CallerContext, SignedIn};
use crate::problems::upstream;
use crate::state::Gateway;
use crate::sync::cursors::CursorReport;
use crate::sync::cursors::cursor_writer::write_cursor;

/// Counted from the request's first byte: one attempt, and one retry of an attempt refused at once.
/// The p95 target is 300 ms (gateway-api section 10).
const HANDSHAKE_TIMEOUT: Duration = Duration::from_millis(800);
/// Seconds (row F-13).
const RETRY_AFTER_SECONDS: u64 = 30;
const RUNBOOK: &str = "bff-backoffice/sync-handshake-down";

/// Start a sync session.
///
/// Asks sync-service for this desktop's cursor. 410 `SYNC_CURSOR_EXPIRED`: repeat the handshake without
/// a cursor, discard the local data and pull everything. 502, 503 and 504: work offline and try again
/// after `Retry-After`.
#[utoipa::path(
    post, path = "/sync/handshake", operation_id = "shake_hands", tag = "sync", request_body = HandshakeBody,
    responses((status = 200, body = SyncSession)),
)]
pub(crate) async fn start_sync_handshake(
    caller: Caller<SignedIn>,
    calls: CallerContext,
    State(gateway): State<Gateway>,
    Json(body): Json<HandshakeBody>,
) -> ApiResult<Response> {
    let context = calls.with_deadline(calls.received() + handshake_timeout());
    let key = format!("{:032x}", gateway.env.entropy.u128());
    let request = HandshakeRequest { cursor_version: body.cursor_version };
    let reply = gateway.upstreams.handshake(&context, &key, &request).await;
    let reply = reply.map_err(|error| handshake_problem(&error))?;
    let principal = &caller.principal;
    check(principal, &reply)?;
    let token = gateway.request_tokens.sync_session(principal, Upstream::Sync.name());
    let token = token.ok_or_else(|| {
        ApiError::new(&code::TOKEN_INVALID, "The access token is bound to no key. Sign in again.")
    })?;
    let cursor = SyncCursor { version: reply.cursor.version, at: reply.cursor.last_pull_at };
    let (property, at) = (Some(reply.property_id), gateway.env.now());
    write_cursor(&gateway, CursorReport { principal: caller.principal, cursor, at, property })
        .await;
    count("ok");
    let session = SyncSession {
        sync_session_token: token.text,
        expires_at: token.expires_at.into(),
        cursor,
        pull_url: reply.pull_url,
        push_url: reply.push_url,
        full_resync: reply.full_resync,
    };
    Ok(([(CACHE_CONTROL, "no-store")], Json(session)).into_response())
}

fn handshake_timeout() -> Duration {
    time_limit(Safeguard::HandshakeDeadline, HANDSHAKE_TIMEOUT)
}

fn count(outcome: &'static str) {
    counter!("bff_backoffice_sync_handshake_total", "outcome" => outcome).increment(1);
}

/// Checks that the cursor is this desktop's and fits the wire.
fn check(principal: &Principal, reply: &Handshake) -> ApiResult<()> {
    if reply.cursor.device_id == principal.device && reply.cursor.version <= LARGEST_VERSION {
        return Ok(());
    }
    count("drifted");
    counter!("bff_backoffice_upstream_schema_drift_total", "upstream" => Upstream::Sync.name())
        .increment(1);
    tracing::error!("sync-service returned a cursor that cannot be this desktop's.");
    Err(retriable(upstream::schema_drift(Upstream::Sync)))
}

/// Maps sync-service's refusal or failure.
fn handshake_problem(error: &CallError) -> ApiError {
    if let CallError::Status { status: 410, problem: Some(own) } = error
        && own.code == CURSOR_EXPIRED
    {
        count("expired");
        return ApiError::new(
            &code::SYNC_CURSOR_EXPIRED,
            "The desktop was offline for too long. Repeat the handshake without a cursor and pull everything.",
        );
    }
    let is_refusal = upstream::is_a_refusal(error);
    count(if is_refusal { "refused" } else { "failed" });
    let problem = upstream::problem(Upstream::Sync, error);
    if is_refusal { problem } else { retriable(problem) }
}

/// Marks the problem as retriable: the desktop tries again.
fn retriable(ApiError(problem): ApiError) -> ApiError {
    let runbook = problem.runbook.clone().or_else(|| Some(RUNBOOK.into()));
    Problem { runbook, retriable: true, ..problem.with_retry_after(RETRY_AFTER_SECONDS) }.into()
}
