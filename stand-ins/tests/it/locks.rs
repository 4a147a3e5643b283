//! Keys are made and ended once, and what became of a request can be asked.

use contracts::id::KeyCredentialId;
use contracts::locks::LockActionKind;
use contracts::upstream::Upstream::Lock;
use contracts::upstream::lock::{
    IssuedKey, KeyState, LockDevice, LockKey, LockKeys, LockOperation, RevokedKey,
};
use jiff::SignedDuration;
use serde_json::{Value, json};
use stand_ins::demo;

use crate::world::{self, World};

const KEY: &str = "a-key-of-a-desk-0001";
const OTHER: &str = "a-key-of-a-desk-0002";

/// A guest in the house at Kabul and the lock of the room.
fn guest(world: &World) -> (&demo::Reservation, &demo::Lock) {
    let kabul = world.house.properties[0].id;
    let stay = world.house.stays_of(kabul).find(|stay| stay.is_in_house()).unwrap();
    let lock = world.house.locks.iter().find(|lock| Some(lock.room_id) == stay.room_id).unwrap();
    (stay, lock)
}

fn wish(world: &World) -> Value {
    let (stay, lock) = guest(world);
    let until = world.now() + SignedDuration::from_hours(20);
    json!({
        "reservationId": stay.id, "roomIds": [lock.room_id], "validFrom": world.now(),
        "validUntil": until, "preferredKinds": ["pin_code", "rfid_card"],
        "guest": {"id": stay.guest_id, "displayName": stay.guest_name,
                  "contact": {"phoneE164": "+93205550114"}},
    })
}

async fn keys(world: &World) -> Vec<LockKey> {
    let kabul = world.house.properties[0].id;
    let path = format!("/api/v1/locks/keys?propertyId={kabul}");
    let list = world.get(Lock, &path, world.operator("frontdesk", "kabul")).await;
    list.json::<LockKeys>().await.unwrap().items
}

/// As the gateway asks, for no operator.
async fn operation(world: &World, key: &str) -> reqwest::Response {
    let tenant = world.house.tenants[0].id;
    let url = world.url(Lock, &format!("/api/v1/locks/operations/{key}?tenantId={tenant}"));
    let token = format!("Bearer {}", world.gateway.service_token("lock"));
    world.http.get(url).header("authorization", token).send().await.unwrap()
}

async fn code(answer: reqwest::Response) -> (u16, String) {
    let status = answer.status().as_u16();
    let problem: Value = answer.json().await.unwrap();
    (status, problem["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_key_that_was_issued_can_be_revoked_and_each_happens_once() {
    let world = world::start().await;
    let desk = world.operator("frontdesk", "kabul");
    let (_, lock) = guest(&world);
    let (path, body, before) =
        (format!("/api/v1/locks/{}/keys", lock.id), wish(&world), keys(&world).await.len());
    let first = world.mutate((Lock, &path), desk, KEY, &body).await;
    assert_eq!(first.status(), 201);
    let first: IssuedKey = first.json().await.unwrap();
    assert_eq!((first.lock_id, first.vendor.as_str()), (lock.id, "ttlock"));
    let again = world.mutate((Lock, &path), desk, KEY, &body).await;
    assert_eq!(again.json::<IssuedKey>().await.unwrap(), first);
    assert_eq!(keys(&world).await.len(), before + 1);

    let path = format!("{path}/{}/revoke", first.key_credential_id);
    let reason = json!({"reason": "the guest lost it"});
    let revoked = world.mutate((Lock, &path), desk, OTHER, &reason).await;
    assert_eq!(revoked.json::<RevokedKey>().await.unwrap().state, KeyState::Revoked);
    assert_eq!(keys(&world).await.len(), before);
    let twice = world.mutate((Lock, &path), desk, "a-key-of-a-desk-0003", &reason).await;
    assert_eq!(code(twice).await, (409, "MELMASTOON.LOCK.KEY_NOT_ACTIVE".to_owned()));
    let effects = world.listed("effects", Lock).await;
    let done: Vec<_> = effects.iter().map(|effect| effect["action"].as_str().unwrap()).collect();
    assert_eq!(done, ["key.issued", "key.revoked"]);
}

#[tokio::test]
async fn what_became_of_a_request_whose_answer_was_lost_is_told_to_the_gateway_alone() {
    let world = world::start().await;
    let desk = world.operator("frontdesk", "kabul");
    let (_, lock) = guest(&world);
    let path = format!("/api/v1/locks/{}/keys", lock.id);
    assert_eq!(operation(&world, KEY).await.status(), 404);
    world.fail(json!({"upstream": "lock", "kind": "lost_answer", "times": 1})).await;
    let token = world.request_token(Lock, desk);
    let lost = world.post(Lock, &path).header("authorization", &token);
    let lost = lost.header("idempotency-key", KEY).json(&wish(&world)).send().await;
    assert!(lost.is_err(), "the answer arrived");
    let told: LockOperation = operation(&world, KEY).await.json().await.unwrap();
    assert_eq!((told.lock_id, told.idempotency_key.as_str()), (lock.id, KEY));
    assert_eq!(told.action, LockActionKind::IssueKey);
    assert!(keys(&world).await.iter().any(|it| it.key_credential_id == told.key_credential_id));
    let tenant = lock.tenant_id;
    let asked = format!("/api/v1/locks/operations/{KEY}?tenantId={tenant}");
    assert_eq!(world.get(Lock, &asked, desk).await.status(), 401);
}

#[tokio::test]
async fn a_lock_says_where_it_is_and_another_tenant_s_does_not_exist() {
    let world = world::start().await;
    let (stay, lock) = guest(&world);
    let path = format!("/api/v1/locks/{}", lock.id);
    let desk = world.operator("frontdesk", "kabul");
    let device: LockDevice = world.get(Lock, &path, desk).await.json().await.unwrap();
    assert_eq!((device.property_id, Some(device.room_id)), (stay.property_id, stay.room_id));
    let colleague = world.operator("frontdesk", "dushanbe");
    assert_eq!(world.get(Lock, &path, colleague).await.status(), 403);
    let stranger = world.operator("gm", "shiraz");
    assert_eq!(world.get(Lock, &path, stranger).await.status(), 404);
    let issue = format!("{path}/keys");
    let hidden = world.mutate((Lock, &issue), stranger, KEY, &wish(&world)).await;
    assert_eq!(hidden.status(), 404);
    let made_up: KeyCredentialId = "key_01K0000000000000000000000A".parse().unwrap();
    let revoke = format!("{path}/keys/{made_up}/revoke");
    let unknown = world.mutate((Lock, &revoke), desk, KEY, &json!({"reason": "lost"})).await;
    assert_eq!(unknown.status(), 404);
}

#[tokio::test]
async fn a_key_for_another_room_for_nobody_or_for_no_time_is_not_made() {
    let world = world::start().await;
    let desk = world.operator("frontdesk", "kabul");
    let (_, lock) = guest(&world);
    let path = format!("/api/v1/locks/{}/keys", lock.id);
    let elsewhere = world.house.rooms_of(world.house.properties[1].id).next().unwrap().id;
    for (member, value) in [
        ("roomIds", json!([])),
        ("roomIds", json!([lock.room_id, elsewhere])),
        ("validUntil", wish(&world)["validFrom"].clone()),
        ("preferredKinds", json!([])),
        ("reservationId", json!("rsv_01K0000000000000000000000A")),
    ] {
        let mut body = wish(&world);
        body[member] = value;
        let answer = world.mutate((Lock, &path), desk, KEY, &body).await;
        assert_eq!(code(answer).await, (422, "MELMASTOON.LOCK.KEY_INVALID".to_owned()), "{body}");
    }
    assert!(world.listed("effects", Lock).await.is_empty());
}
