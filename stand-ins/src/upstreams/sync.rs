//! sync: how far the desktops of a property have come. A desktop that never called is imagined to
//! pull every few minutes; one that shook hands stands where its own transfers, or a person at the
//! control listener, moved it. What is transferred is not played.

mod transfer;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use auth::htu::Htu;
use auth::proof::{ProofVerifier, Window};
use auth::replay::LocalReplays;
use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use contracts::id::{DeviceId, PropertyId, TenantId};
use contracts::problem::Code;
use contracts::upstream::sync::{
    CURSOR_EXPIRED, DeviceCursor, Handshake, HandshakeRequest, SyncCursors,
};
use jiff::Timestamp;
use serde::Deserialize;
use service_kit::caller::{Caller, ServiceCaller};
use service_kit::extract::{Json, Path, Query};
use service_kit::problem::{ApiError, ApiResult};

use super::{OfProperty, Scene, Stage};
use crate::demo::{House, desktops};
use crate::ledger::lock;

/// Versions back from the newest that a desktop may still go on from: a week of pulls.
const KEPT: u64 = 7 * 24 * 12;

static EXPIRED: Code = Code {
    name: CURSOR_EXPIRED,
    status: 410,
    title: "What the desktop lacks is not kept any more",
    retriable: false,
    retry_after: None,
    runbook: None,
};

/// Where desktops stand that are not imagined any more.
#[derive(Debug)]
pub(crate) struct Cursors {
    real: Mutex<HashMap<DeviceId, DeviceCursor>>,
    /// Where desktops pull and push.
    base: String,
    proofs: ProofVerifier,
    replays: LocalReplays,
}

/// A cursor that is moved by hand, so that whoever cached it is wrong.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Moved {
    device_id: DeviceId,
    version: u64,
    /// As it was when absent.
    #[serde(default, with = "contracts::clock::wire::option")]
    last_pull_at: Option<Timestamp>,
}

pub(super) fn router(scene: Scene, own: Arc<Cursors>) -> Router {
    Router::new()
        .route("/api/v1/sync/cursors", get(cursors))
        .route("/api/v1/sync/tenants/{tenant}/cursors", get(cursors_of_tenant))
        .route("/api/v1/sync/handshake", post(shake_hands))
        .route(transfer::PULL, post(transfer::pull))
        .route(transfer::PUSH, post(transfer::push))
        .with_state(Stage { scene, own })
}

async fn cursors(
    State(stage): State<Stage<Cursors>>,
    caller: Caller,
    Query(of): Query<OfProperty>,
) -> ApiResult<Json<SyncCursors>> {
    let property = stage.scene.property(&caller, of.property_id)?.id;
    Ok(Json(stage.list(property)))
}

/// For the gateway itself: no operator compares cursors.
async fn cursors_of_tenant(
    State(stage): State<Stage<Cursors>>,
    _: ServiceCaller,
    Path(tenant): Path<TenantId>,
    Query(of): Query<OfProperty>,
) -> ApiResult<Json<SyncCursors>> {
    let found = stage.scene.house.property(of.property_id);
    let own = found.filter(|property| property.tenant_id == tenant);
    Ok(Json(stage.list(own.ok_or_else(ApiError::not_found)?.id)))
}

async fn shake_hands(
    State(stage): State<Stage<Cursors>>,
    caller: Caller,
    Json(request): Json<HandshakeRequest>,
) -> ApiResult<Json<Handshake>> {
    let (device, tenant) = (caller.0.device, caller.0.tenant);
    let mut operators = stage.scene.house.operators.iter();
    let operator = operators.find(|it| it.device_id == device && it.tenant_id == tenant);
    let property = operator.and_then(|it| it.property_ids.first());
    let property_id = *property.ok_or_else(ApiError::not_found)?;
    let cursor = stage.own.change(device, stage.scene.clock.now(), |_| ());
    let full_resync = begins_anew(request.cursor_version, cursor.version)?;
    let url = |path| format!("{}{path}", stage.own.base);
    let (pull_url, push_url) = (url(transfer::PULL), url(transfer::PUSH));
    Ok(Json(Handshake { property_id, cursor, pull_url, push_url, full_resync }))
}

/// Whether the desktop pulls everything: it has nothing, or what was lost here.
fn begins_anew(has: Option<u64>, newest: u64) -> ApiResult<bool> {
    match has {
        Some(version) if version.saturating_add(KEPT) < newest => Err(ApiError::new(
            &EXPIRED,
            "The desktop was away for too long. Shake hands without a cursor and pull everything.",
        )),
        Some(version) => Ok(version > newest),
        None => Ok(true),
    }
}

impl Cursors {
    /// `base`: the listener's own URL, without a path.
    pub(crate) fn new(base: String) -> Self {
        let proofs = ProofVerifier::new(Window::default());
        let replays = LocalReplays::new(100_000, proofs.span());
        Self { real: Mutex::default(), base, proofs, replays }
    }

    /// What a proof for this path of ours must name.
    fn target(&self, path: &str) -> Option<Htu> {
        Htu::parse(&format!("{}{path}", self.base)).ok()
    }

    fn of(&self, device: DeviceId, now: Timestamp) -> DeviceCursor {
        let real = lock(&self.real).get(&device).cloned();
        real.unwrap_or_else(|| imagined(device, now))
    }

    /// Changes where a desktop stands, and tells it.
    fn change(
        &self,
        device: DeviceId,
        now: Timestamp,
        change: impl FnOnce(&mut DeviceCursor),
    ) -> DeviceCursor {
        let mut real = lock(&self.real);
        let cursor = real.entry(device).or_insert_with(|| imagined(device, now));
        change(cursor);
        cursor.clone()
    }

    /// By hand.
    pub(crate) fn put(
        &self,
        moved: Moved,
        house: &House,
        now: Timestamp,
    ) -> ApiResult<DeviceCursor> {
        if !house.operators.iter().any(|it| it.device_id == moved.device_id) {
            return Err(ApiError::not_found());
        }
        Ok(self.change(moved.device_id, now, |cursor| {
            cursor.version = moved.version;
            cursor.last_pull_at = moved.last_pull_at.unwrap_or(cursor.last_pull_at);
        }))
    }
}

impl Stage<Cursors> {
    fn list(&self, property_id: PropertyId) -> SyncCursors {
        let now = self.scene.clock.now();
        let operators = self.scene.house.operators.iter();
        let here = operators.filter(|operator| operator.property_ids.contains(&property_id));
        let mut items: Vec<_> = here.map(|operator| self.own.of(operator.device_id, now)).collect();
        items.sort_by_key(|cursor| cursor.device_id);
        SyncCursors { property_id, as_of: now, items }
    }
}

fn imagined(device_id: DeviceId, now: Timestamp) -> DeviceCursor {
    let progress = desktops::progress(device_id, now);
    DeviceCursor {
        device_id,
        version: progress.pulls,
        last_pull_at: progress.last_pull,
        last_push_at: progress.last_push,
    }
}
