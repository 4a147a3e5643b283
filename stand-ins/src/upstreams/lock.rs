//! lock-integration: issues and revokes keys, each request once, and remembers the outcome by
//! idempotency key.
//!
//! Not here: the vendors of the locks. What they would do takes effect at once.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use contracts::id::{KeyCredentialId, LockDeviceId, PropertyId, RoomId, TenantId};
use contracts::locks::LockActionKind;
use contracts::problem::Code;
use contracts::text::Text;
use contracts::upstream::Upstream;
use contracts::upstream::lock::{
    IssueKeyRequest, IssuedKey, KeyState, LockDevice, LockKey, LockKeys, LockOperation,
    RevokeKeyRequest, RevokedKey,
};
use http::StatusCode;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde::Deserialize;
use service_kit::caller::{Caller, ServiceCaller};
use service_kit::extract::{Json, Path, Query};
use service_kit::problem::{ApiError, ApiResult};

use super::{Platform, PropertyRead, UpstreamState};
use crate::demo::{DemoData, Lock};
use crate::idempotency::{Mutation, RequestKey};
use crate::refusal::refusal;

static KEY_INVALID: Code = refusal(422, "MELMASTOON.LOCK.KEY_INVALID", "The key cannot be issued");
static KEY_NOT_ACTIVE: Code =
    refusal(409, "MELMASTOON.LOCK.KEY_NOT_ACTIVE", "The key is no longer active");

/// All keys, and the operations that made or revoked them.
#[derive(Debug)]
pub(crate) struct Keyring {
    keys: Mutex<BTreeMap<KeyCredentialId, Key>>,
    /// Operations by tenant and idempotency key.
    operations: Mutex<HashMap<(TenantId, String), LockOperation>>,
}

#[derive(Debug)]
struct Key {
    lock: Lock,
    /// As the wire shows it.
    wire: LockKey,
    state: KeyState,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TenantQuery {
    tenant_id: TenantId,
}

pub(super) fn routes() -> Router<UpstreamState> {
    Router::new()
        .route("/api/v1/locks/keys", get(list))
        .route("/api/v1/locks/operations/{key}", get(operation))
        .route("/api/v1/locks/{id}", get(device))
        .route("/api/v1/locks/{id}/keys", post(issue))
        .route("/api/v1/locks/{id}/keys/{key}/revoke", post(revoke))
}

async fn device(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Path(id): Path<LockDeviceId>,
) -> ApiResult<Json<LockDevice>> {
    let Lock { id, property_id, room_id, vendor } = *platform.lock(&caller, id)?;
    Ok(Json(LockDevice {
        lock_id: id,
        property_id,
        room_id,
        vendor: Text::fitted(vendor, "unknown"),
    }))
}

async fn list(PropertyRead { platform, property, now }: PropertyRead) -> Json<LockKeys> {
    let items = platform.keys.list(Some(property.id), now);
    Json(LockKeys { property_id: property.id, as_of: now.into(), items })
}

/// The outcome of a request. For the gateway itself, not for operators.
async fn operation(
    State(platform): State<Arc<Platform>>,
    _: ServiceCaller,
    Path(key): Path<String>,
    Query(query): Query<TenantQuery>,
) -> ApiResult<Json<LockOperation>> {
    let operations = platform.keys.operations.lock();
    let found = operations.get(&(query.tenant_id, key)).cloned();
    found.map(Json).ok_or_else(ApiError::not_found)
}

async fn issue(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Path(id): Path<LockDeviceId>,
    Mutation { request_key, body }: Mutation<IssueKeyRequest>,
) -> ApiResult<Response> {
    let (tenant, now) = (caller.0.tenant, platform.env.now());
    platform.idempotency.run_once(Upstream::Lock, tenant, &request_key, now, || {
        Ok((StatusCode::CREATED, platform.issue(&caller, id, &request_key, body)?))
    })
}

async fn revoke(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Path((id, key)): Path<(LockDeviceId, KeyCredentialId)>,
    Mutation { request_key, .. }: Mutation<RevokeKeyRequest>,
) -> ApiResult<Response> {
    let (tenant, now) = (caller.0.tenant, platform.env.now());
    platform.idempotency.run_once(Upstream::Lock, tenant, &request_key, now, || {
        Ok((StatusCode::OK, platform.revoke(&caller, id, key, &request_key)?))
    })
}

impl Keyring {
    pub(crate) fn of(demo: &DemoData) -> Self {
        let key = |wire: &LockKey| {
            let (lock, wire) = (demo.lock(wire.lock_id)?.clone(), wire.clone());
            Some((wire.key_credential_id, Key { lock, wire, state: KeyState::Active }))
        };
        let keys = demo.keys.iter().filter_map(key).collect();
        Self { keys: Mutex::new(keys), operations: Mutex::default() }
    }

    /// The keys of a property, or all keys, that are valid now or later.
    pub(crate) fn list(&self, property: Option<PropertyId>, now: Timestamp) -> Vec<LockKey> {
        let keys = self.keys.lock();
        let open = keys.values().filter(|key| {
            let is_good = key.state == KeyState::Active && *key.wire.valid_until > now;
            is_good && property.is_none_or(|property| property == key.lock.property_id)
        });
        open.map(|key| key.wire.clone()).collect()
    }
}

impl Platform {
    /// Finds a lock of the caller's tenant, in the caller's scope.
    fn lock(&self, caller: &Caller, id: LockDeviceId) -> ApiResult<&Lock> {
        let lock = self.demo.lock(id).ok_or_else(ApiError::not_found)?;
        self.property(caller, lock.property_id)?;
        Ok(lock)
    }

    fn issue(
        &self,
        caller: &Caller,
        id: LockDeviceId,
        request_key: &RequestKey,
        request: IssueKeyRequest,
    ) -> ApiResult<IssuedKey> {
        let lock = self.lock(caller, id)?.clone();
        self.check_key(&lock, &request)?;
        let env = &self.env;
        let wire = LockKey {
            key_credential_id: env.new_id(),
            lock_id: lock.id,
            reservation_id: request.reservation_id,
            room_ids: request.room_ids,
            kind: request.preferred_kinds[0],
            valid_from: request.valid_from,
            valid_until: request.valid_until,
        };
        let id = wire.key_credential_id;
        self.record_operation(caller, &lock, id, LockActionKind::IssueKey, request_key);
        let issued = IssuedKey {
            key_credential_id: id,
            lock_id: lock.id,
            property_id: lock.property_id,
            reservation_id: wire.reservation_id,
            room_ids: wire.room_ids.clone(),
            kind: wire.kind,
            state: KeyState::Active,
            vendor: lock.vendor.to_owned(),
            valid_from: wire.valid_from,
            valid_until: wire.valid_until,
            issued_at: env.now().into(),
        };
        let key = Key { lock, wire, state: KeyState::Active };
        self.keys.keys.lock().insert(id, key);
        Ok(issued)
    }

    /// Checks that the key is for a stay at the property, opens the room of the lock, and ends after
    /// it begins.
    fn check_key(&self, lock: &Lock, request: &IssueKeyRequest) -> ApiResult<()> {
        let demo = &self.demo;
        let is_here =
            |id: &RoomId| demo.room(*id).is_some_and(|room| room.property_id == lock.property_id);
        let mut stays = demo.stays_of(lock.property_id);
        let sentence = if !stays.any(|stay| stay.id == request.reservation_id) {
            "The property has no such reservation. Reload the arrivals."
        } else if !request.room_ids.contains(&lock.room_id) || !request.room_ids.iter().all(is_here)
        {
            "Name the room of the lock, and only rooms of its property."
        } else if request.valid_from >= request.valid_until {
            "The key must end after it begins."
        } else if request.preferred_kinds.is_empty() {
            "Name at least one preferred kind of key."
        } else {
            return Ok(());
        };
        Err(ApiError::new(&KEY_INVALID, sentence))
    }

    fn revoke(
        &self,
        caller: &Caller,
        id: LockDeviceId,
        key: KeyCredentialId,
        request_key: &RequestKey,
    ) -> ApiResult<RevokedKey> {
        let lock = self.lock(caller, id)?;
        let mut keys = self.keys.keys.lock();
        let own = keys.get_mut(&key).filter(|key| key.lock.id == id);
        let held = own.ok_or_else(ApiError::not_found)?;
        if held.state != KeyState::Active {
            return Err(ApiError::new(
                &KEY_NOT_ACTIVE,
                "The key was already revoked. Reload the keys of the room.",
            ));
        }
        held.state = KeyState::Revoked;
        self.record_operation(caller, lock, key, LockActionKind::RevokeKey, request_key);
        Ok(RevokedKey {
            key_credential_id: key,
            lock_id: id,
            property_id: lock.property_id,
            state: held.state,
            vendor: lock.vendor.to_owned(),
            revoked_at: self.env.now().into(),
        })
    }

    fn record_operation(
        &self,
        caller: &Caller,
        lock: &Lock,
        key: KeyCredentialId,
        action: LockActionKind,
        request_key: &RequestKey,
    ) {
        let effect = match action {
            LockActionKind::IssueKey => "key.issued",
            LockActionKind::RevokeKey => "key.revoked",
        };
        self.note(caller, Upstream::Lock, effect, key.as_str(), request_key);
        let operation = LockOperation {
            idempotency_key: request_key.key.clone(),
            action,
            lock_id: lock.id,
            key_credential_id: key,
            vendor: lock.vendor.to_owned(),
            done_at: self.env.now().into(),
        };
        self.keys.operations.lock().insert((caller.0.tenant, request_key.key.clone()), operation);
    }
}
