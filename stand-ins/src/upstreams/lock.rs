//! lock-integration: keys are made and ended once, and what became of each request is remembered.
//! The vendors of the locks are not played: what they would do is done at once.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use contracts::id::{Id, KeyCredentialId, LockDeviceId, PropertyId, RoomId, TenantId};
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
use serde::Deserialize;
use service_kit::caller::{Caller, ServiceCaller};
use service_kit::extract::{Json, Path, Query};
use service_kit::problem::{ApiError, ApiResult};

use super::{OfProperty, Scene, Stage};
use crate::demo::{House, Lock, RoomKey};
use crate::ledger::lock as locked;
use crate::shelf::{Mutation, Ticket};

static KEY_INVALID: Code = Code {
    name: "MELMASTOON.LOCK.KEY_INVALID",
    status: 422,
    title: "Such a key cannot be made",
    retriable: false,
    retry_after: None,
    runbook: None,
};

static KEY_NOT_ACTIVE: Code = Code {
    name: "MELMASTOON.LOCK.KEY_NOT_ACTIVE",
    status: 409,
    title: "The key opens nothing any more",
    retriable: false,
    retry_after: None,
    runbook: None,
};

/// What changes.
#[derive(Debug)]
pub(crate) struct Keyring {
    keys: Mutex<BTreeMap<KeyCredentialId, Key>>,
    /// By tenant and idempotency key.
    done: Mutex<HashMap<(TenantId, String), LockOperation>>,
}

#[derive(Debug)]
struct Key {
    lock: Lock,
    told: LockKey,
    state: KeyState,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfTenant {
    tenant_id: TenantId,
}

pub(super) fn router(scene: Scene, own: Arc<Keyring>) -> Router {
    Router::new()
        .route("/api/v1/locks/keys", get(list))
        .route("/api/v1/locks/operations/{key}", get(operation))
        .route("/api/v1/locks/{id}", get(device))
        .route("/api/v1/locks/{id}/keys", post(issue))
        .route("/api/v1/locks/{id}/keys/{key}/revoke", post(revoke))
        .with_state(Stage { scene, own })
}

async fn device(
    State(stage): State<Stage<Keyring>>,
    caller: Caller,
    Path(id): Path<LockDeviceId>,
) -> ApiResult<Json<LockDevice>> {
    let Lock { id, property_id, room_id, vendor, .. } = *stage.lock(&caller, id)?;
    Ok(Json(LockDevice {
        lock_id: id,
        property_id,
        room_id,
        vendor: Text::fitted(vendor, "unknown"),
    }))
}

async fn list(
    State(stage): State<Stage<Keyring>>,
    caller: Caller,
    Query(of): Query<OfProperty>,
) -> ApiResult<Json<LockKeys>> {
    let property_id = stage.scene.property(&caller, of.property_id)?.id;
    let as_of = stage.scene.clock.now();
    let items = stage.own.list(Some(property_id), as_of);
    Ok(Json(LockKeys { property_id, as_of, items }))
}

/// For the gateway itself: no operator asks what became of a request.
async fn operation(
    State(stage): State<Stage<Keyring>>,
    _: ServiceCaller,
    Path(key): Path<String>,
    Query(of): Query<OfTenant>,
) -> ApiResult<Json<LockOperation>> {
    let done = locked(&stage.own.done);
    let found = done.get(&(of.tenant_id, key)).cloned();
    found.map(Json).ok_or_else(ApiError::not_found)
}

async fn issue(
    State(stage): State<Stage<Keyring>>,
    caller: Caller,
    Path(id): Path<LockDeviceId>,
    Mutation { ticket, body }: Mutation<IssueKeyRequest>,
) -> ApiResult<Response> {
    let scope = (Upstream::Lock, caller.0.tenant);
    stage.scene.shelf.once(scope, &ticket, stage.scene.clock.now(), || {
        Ok((StatusCode::CREATED, stage.issue(&caller, id, &ticket, body)?))
    })
}

async fn revoke(
    State(stage): State<Stage<Keyring>>,
    caller: Caller,
    Path((id, key)): Path<(LockDeviceId, KeyCredentialId)>,
    Mutation { ticket, .. }: Mutation<RevokeKeyRequest>,
) -> ApiResult<Response> {
    let scope = (Upstream::Lock, caller.0.tenant);
    stage.scene.shelf.once(scope, &ticket, stage.scene.clock.now(), || {
        Ok((StatusCode::OK, stage.revoke(&caller, (id, key), &ticket)?))
    })
}

impl Keyring {
    pub(crate) fn of(house: &House) -> Self {
        let key = |key: &RoomKey| {
            let lock = house.locks.iter().find(|lock| lock.room_id == key.room_id)?;
            let told = LockKey {
                key_credential_id: key.id,
                lock_id: lock.id,
                reservation_id: key.reservation_id,
                room_ids: vec![key.room_id],
                kind: key.kind,
                valid_from: key.valid_from,
                valid_until: key.valid_until,
            };
            Some((key.id, Key { lock: lock.clone(), told, state: KeyState::Active }))
        };
        let keys = house.keys.iter().filter_map(key).collect();
        Self { keys: Mutex::new(keys), done: Mutex::default() }
    }

    /// Those of a property, or all, that open a door now or later.
    pub(crate) fn list(&self, property: Option<PropertyId>, now: Timestamp) -> Vec<LockKey> {
        let keys = locked(&self.keys);
        let open = keys.values().filter(|key| {
            let is_good = key.state == KeyState::Active && key.told.valid_until > now;
            is_good && property.is_none_or(|property| property == key.lock.property_id)
        });
        open.map(|key| key.told.clone()).collect()
    }
}

impl Stage<Keyring> {
    /// The caller's own tenant's, in the caller's scope.
    fn lock(&self, caller: &Caller, id: LockDeviceId) -> ApiResult<&Lock> {
        let lock = self.scene.house.lock(id).ok_or_else(ApiError::not_found)?;
        self.scene.property(caller, lock.property_id)?;
        Ok(lock)
    }

    fn issue(
        &self,
        caller: &Caller,
        id: LockDeviceId,
        ticket: &Ticket,
        wish: IssueKeyRequest,
    ) -> ApiResult<IssuedKey> {
        let lock = self.lock(caller, id)?.clone();
        self.check(&lock, &wish)?;
        let (clock, entropy) = (&self.scene.clock, &self.scene.entropy);
        let told = LockKey {
            key_credential_id: KeyCredentialId::generate(clock, entropy),
            lock_id: lock.id,
            reservation_id: wish.reservation_id,
            room_ids: wish.room_ids,
            kind: wish.preferred_kinds[0],
            valid_from: wish.valid_from,
            valid_until: wish.valid_until,
        };
        self.note_done(caller, (&lock, told.key_credential_id), LockActionKind::IssueKey, ticket);
        let issued = issued(&lock, &told, clock.now());
        let key = Key { lock, told, state: KeyState::Active };
        locked(&self.own.keys).insert(issued.key_credential_id, key);
        Ok(issued)
    }

    /// A key is for a stay of the house, opens the lock's own room, and ends after it begins.
    fn check(&self, lock: &Lock, wish: &IssueKeyRequest) -> ApiResult<()> {
        let house = &self.scene.house;
        let is_here =
            |id: &RoomId| house.room(*id).is_some_and(|it| it.property_id == lock.property_id);
        let mut stays = house.stays_of(lock.property_id);
        let sentence = if !stays.any(|stay| stay.id == wish.reservation_id) {
            "The property has no such reservation. Look at the arrivals again."
        } else if !wish.room_ids.contains(&lock.room_id) || !wish.room_ids.iter().all(is_here) {
            "Name the room of the lock, and only rooms of its property."
        } else if wish.valid_from >= wish.valid_until {
            "The key must end after it begins."
        } else if wish.preferred_kinds.is_empty() {
            "Say which kinds of keys are wanted."
        } else {
            return Ok(());
        };
        Err(ApiError::new(&KEY_INVALID, sentence))
    }

    fn revoke(
        &self,
        caller: &Caller,
        (id, key): (LockDeviceId, KeyCredentialId),
        ticket: &Ticket,
    ) -> ApiResult<RevokedKey> {
        let lock = self.lock(caller, id)?;
        let mut keys = locked(&self.own.keys);
        let own = keys.get_mut(&key).filter(|key| key.lock.id == id);
        let held = own.ok_or_else(ApiError::not_found)?;
        if held.state != KeyState::Active {
            return Err(ApiError::new(
                &KEY_NOT_ACTIVE,
                "The key was revoked before. Look at the keys of the room again.",
            ));
        }
        held.state = KeyState::Revoked;
        self.note_done(caller, (lock, key), LockActionKind::RevokeKey, ticket);
        Ok(RevokedKey {
            key_credential_id: key,
            lock_id: id,
            property_id: lock.property_id,
            state: held.state,
            vendor: lock.vendor.to_owned(),
            revoked_at: self.scene.clock.now(),
        })
    }

    fn note_done(
        &self,
        caller: &Caller,
        (lock, key): (&Lock, KeyCredentialId),
        action: LockActionKind,
        ticket: &Ticket,
    ) {
        let effect = match action {
            LockActionKind::IssueKey => "key.issued",
            LockActionKind::RevokeKey => "key.revoked",
        };
        self.scene.note(caller, (Upstream::Lock, effect), key.as_str(), ticket);
        let operation = LockOperation {
            idempotency_key: ticket.key.clone(),
            action,
            lock_id: lock.id,
            key_credential_id: key,
            vendor: lock.vendor.to_owned(),
            done_at: self.scene.clock.now(),
        };
        locked(&self.own.done).insert((caller.0.tenant, ticket.key.clone()), operation);
    }
}

fn issued(lock: &Lock, told: &LockKey, now: Timestamp) -> IssuedKey {
    IssuedKey {
        key_credential_id: told.key_credential_id,
        lock_id: lock.id,
        property_id: lock.property_id,
        reservation_id: told.reservation_id,
        room_ids: told.room_ids.clone(),
        kind: told.kind,
        state: KeyState::Active,
        vendor: lock.vendor.to_owned(),
        valid_from: told.valid_from,
        valid_until: told.valid_until,
        issued_at: now,
    }
}
