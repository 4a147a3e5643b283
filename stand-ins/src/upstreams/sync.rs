//! sync: the cursors of a property's desktops, and the handshake. The cursor of a desktop that never
//! called is simulated: it pulls every few minutes. After a handshake its own transfers, or the
//! control listener, move it.
//!
//! Not here: the data that is transferred.

mod transfer;

use std::collections::HashMap;
use std::sync::Arc;

use auth::htu::Htu;
use auth::proof::{ProofVerifier, Window};
use auth::replay::LocalReplays;
use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use contracts::clock::wire;
use contracts::id::{DeviceId, PropertyId, TenantId};
use contracts::problem::Code;
use contracts::upstream::sync::{
    CURSOR_EXPIRED, DeviceCursor, Handshake, HandshakeRequest, SyncCursors,
};
use garde::Validate;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde::Deserialize;
use service_kit::caller::{Caller, ServiceCaller};
use service_kit::extract::{Json, Path, PropertyQuery};
use service_kit::problem::{ApiError, ApiResult};

use super::{Platform, PropertyRead, UpstreamState};
use crate::demo::desktops;
use crate::refusal::refusal;

/// A cursor may be at most this many versions old: a week of pulls.
const MAX_VERSIONS_BEHIND: u64 = 7 * 24 * 12;

static EXPIRED_CURSOR: Code = refusal(410, CURSOR_EXPIRED, "The cursor has expired");

/// Cursors of the desktops that called at least once; all others are simulated.
#[derive(Debug)]
pub(crate) struct Cursors {
    known: Mutex<HashMap<DeviceId, DeviceCursor>>,
    /// Base URL for pull and push.
    base: String,
    proofs: ProofVerifier,
    replays: LocalReplays,
}

/// A request to move a cursor, so that cached copies of it are wrong.
#[derive(Debug, Clone, Copy, Deserialize, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub(crate) struct MoveCursor {
    device_id: DeviceId,
    version: u64,
    /// Unchanged when absent.
    last_pull_at: Option<wire::Timestamp>,
}

pub(super) fn routes() -> Router<UpstreamState> {
    Router::new()
        .route("/api/v1/sync/cursors", get(cursors))
        .route("/api/v1/sync/tenants/{tenant}/cursors", get(cursors_of_tenant))
        .route("/api/v1/sync/handshake", post(handshake))
        .route(transfer::PULL_PATH, post(transfer::pull))
        .route(transfer::PUSH_PATH, post(transfer::push))
}

async fn cursors(PropertyRead { platform, property, .. }: PropertyRead) -> Json<SyncCursors> {
    Json(platform.cursors_at(property.id))
}

/// For the gateway itself, which compares cursors.
async fn cursors_of_tenant(
    State(platform): State<Arc<Platform>>,
    _: ServiceCaller,
    Path(tenant): Path<TenantId>,
    PropertyQuery { property_id }: PropertyQuery,
) -> ApiResult<Json<SyncCursors>> {
    let found = platform.demo.property(property_id);
    let own = found.filter(|property| property.tenant_id == tenant);
    Ok(Json(platform.cursors_at(own.ok_or_else(ApiError::not_found)?.id)))
}

async fn handshake(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Json(request): Json<HandshakeRequest>,
) -> ApiResult<Json<Handshake>> {
    let (device, tenant) = (caller.0.device, caller.0.tenant);
    // An operator may have further devices, for which iam's key signed tokens.
    let mut operators = platform.demo.operators.iter();
    let operator =
        operators.find(|operator| operator.id == caller.0.operator && operator.tenant_id == tenant);
    let property = operator.and_then(|operator| operator.property_ids.first());
    let property_id = *property.ok_or_else(ApiError::not_found)?;
    let cursor = platform.cursors.change(device, platform.env.now(), |_| ());
    let full_resync = needs_full_resync(request.cursor_version, cursor.version)?;
    let url = |path| format!("{}{path}", platform.cursors.base);
    let (pull_url, push_url) = (url(transfer::PULL_PATH), url(transfer::PUSH_PATH));
    Ok(Json(Handshake { property_id, cursor, pull_url, push_url, full_resync }))
}

/// Whether the desktop must pull everything: it has nothing, or a version newer than the newest here.
fn needs_full_resync(has: Option<u64>, newest: u64) -> ApiResult<bool> {
    match has {
        Some(version) if version.saturating_add(MAX_VERSIONS_BEHIND) < newest => {
            Err(ApiError::new(
                &EXPIRED_CURSOR,
                "The desktop was offline for too long. Start a handshake without a cursor and pull everything.",
            ))
        }
        Some(version) => Ok(version > newest),
        None => Ok(true),
    }
}

impl Cursors {
    /// `base`: the listener's own URL, without a path.
    pub(crate) fn new(base: String) -> Self {
        let proofs = ProofVerifier::new(Window::default());
        let replays = LocalReplays::new(100_000, proofs.span());
        Self { known: Mutex::default(), base, proofs, replays }
    }

    /// The `htu` that a proof for this path must have.
    fn target(&self, path: &str) -> Option<Htu> {
        Htu::parse(&format!("{}{path}", self.base)).ok()
    }

    fn of(&self, device: DeviceId, now: Timestamp) -> DeviceCursor {
        let known = self.known.lock().get(&device).cloned();
        known.unwrap_or_else(|| desktops::cursor(device, now))
    }

    /// Changes a cursor and returns it.
    fn change(
        &self,
        device: DeviceId,
        now: Timestamp,
        change: impl FnOnce(&mut DeviceCursor),
    ) -> DeviceCursor {
        let mut known = self.known.lock();
        let cursor = known.entry(device).or_insert_with(|| desktops::cursor(device, now));
        change(cursor);
        cursor.clone()
    }
}

impl Platform {
    /// Moves a cursor for the control listener.
    pub(crate) fn move_cursor(&self, moved: MoveCursor) -> ApiResult<DeviceCursor> {
        if !self.demo.operators.iter().any(|operator| operator.device_id == moved.device_id) {
            return Err(ApiError::not_found());
        }
        Ok(self.cursors.change(moved.device_id, self.env.now(), |cursor| {
            cursor.version = moved.version;
            cursor.last_pull_at = moved.last_pull_at.unwrap_or(cursor.last_pull_at);
        }))
    }

    fn cursors_at(&self, property_id: PropertyId) -> SyncCursors {
        let now = self.env.now();
        let operators = self.demo.operators.iter();
        let here = operators.filter(|operator| operator.property_ids.contains(&property_id));
        let mut items: Vec<_> =
            here.map(|operator| self.cursors.of(operator.device_id, now)).collect();
        items.sort_by_key(|cursor| cursor.device_id);
        SyncCursors { property_id, as_of: now.into(), items }
    }
}
