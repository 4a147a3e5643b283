//! Keys: issuing, revoking, and the outcome of a request.

use contracts::id::KeyCredentialId;
use contracts::locks::LockActionKind;
use contracts::upstream::Upstream::Lock;
use contracts::upstream::lock::{
    IssuedKey, KeyState, LockDevice, LockKey, LockKeys, LockOperation, RevokedKey,
};
use jiff::SignedDuration;
use serde_json::{Value, json};
use stand_ins::demo;

use crate::platform::{self, TestPlatform};

const IDEMPOTENCY_KEY: &str = "a-key-of-a-desktop-0001";
const OTHER_KEY: &str = "a-key-of-a-desktop-0002";

/// A guest in house at Kabul and the lock of the room.
fn guest(platform: &TestPlatform) -> (&demo::Reservation, &demo::Lock) {
    let kabul = platform.demo.properties[0].id;
    let stay = platform.demo.stays_of(kabul).find(|stay| stay.is_in_house()).unwrap();
    let lock = platform.demo.locks.iter().find(|lock| Some(lock.room_id) == stay.room_id).unwrap();
    (stay, lock)
}

fn request(platform: &TestPlatform) -> Value {
    let (stay, lock) = guest(platform);
    let until = platform.now() + SignedDuration::from_hours(20);
    json!({
        "reservationId": stay.id, "roomIds": [lock.room_id], "validFrom": platform.now(),
        "validUntil": until, "preferredKinds": ["pin_code", "rfid_card"],
        "guest": {"id": "gst_01K0000000000000000000000A", "displayName": stay.guest_name,
                  "contact": {"phoneE164": "+93205550114"}},
    })
}

async fn keys(platform: &TestPlatform) -> Vec<LockKey> {
    let kabul = platform.demo.properties[0].id;
    let path = format!("/api/v1/locks/keys?propertyId={kabul}");
    let list = platform.get(Lock, &path, platform.operator("frontdesk", "kabul")).await;
    list.json::<LockKeys>().await.unwrap().items
}

/// Reads the outcome of a request as the gateway itself.
async fn operation(platform: &TestPlatform, key: &str) -> reqwest::Response {
    let tenant = platform.demo.tenants[0].id;
    let url = platform.url(Lock, &format!("/api/v1/locks/operations/{key}?tenantId={tenant}"));
    let token = format!("Bearer {}", platform.gateway.service_token("lock"));
    platform.http.get(url).header("authorization", token).send().await.unwrap()
}

async fn code(response: reqwest::Response) -> (u16, String) {
    let status = response.status().as_u16();
    let problem: Value = response.json().await.unwrap();
    (status, problem["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_key_that_was_issued_can_be_revoked_and_each_happens_once() {
    let platform = platform::start().await;
    let operator = platform.operator("frontdesk", "kabul");
    let (_, lock) = guest(&platform);
    let (path, body, before) = (
        format!("/api/v1/locks/{}/keys", lock.id),
        request(&platform),
        keys(&platform).await.len(),
    );
    let first = platform.mutate(Lock, &path, operator, IDEMPOTENCY_KEY, &body).await;
    assert_eq!(first.status(), 201);
    let first: IssuedKey = first.json().await.unwrap();
    assert_eq!((first.lock_id, first.vendor.as_str()), (lock.id, "ttlock"));
    let again = platform.mutate(Lock, &path, operator, IDEMPOTENCY_KEY, &body).await;
    assert_eq!(again.json::<IssuedKey>().await.unwrap(), first);
    assert_eq!(keys(&platform).await.len(), before + 1);

    let path = format!("{path}/{}/revoke", first.key_credential_id);
    let reason = json!({"reason": "the guest lost it"});
    let revoked = platform.mutate(Lock, &path, operator, OTHER_KEY, &reason).await;
    assert_eq!(revoked.json::<RevokedKey>().await.unwrap().state, KeyState::Revoked);
    assert_eq!(keys(&platform).await.len(), before);
    let twice = platform.mutate(Lock, &path, operator, "a-key-of-a-desktop-0003", &reason).await;
    assert_eq!(code(twice).await, (409, "MELMASTOON.LOCK.KEY_NOT_ACTIVE".to_owned()));
    let effects = platform.listed("effects", Lock).await;
    let done: Vec<_> = effects.iter().map(|effect| effect["action"].as_str().unwrap()).collect();
    assert_eq!(done, ["key.issued", "key.revoked"]);
}

#[tokio::test]
async fn only_the_gateway_reads_the_outcome_of_a_lost_request() {
    let platform = platform::start().await;
    let operator = platform.operator("frontdesk", "kabul");
    let (_, lock) = guest(&platform);
    let path = format!("/api/v1/locks/{}/keys", lock.id);
    assert_eq!(operation(&platform, IDEMPOTENCY_KEY).await.status(), 404);
    platform.fail(json!({"upstream": "lock", "kind": "lost_answer", "times": 1})).await;
    let token = platform.request_token(Lock, operator);
    let lost = platform.post(Lock, &path).header("authorization", &token);
    let lost =
        lost.header("idempotency-key", IDEMPOTENCY_KEY).json(&request(&platform)).send().await;
    assert!(lost.is_err(), "the response arrived");
    let listed: LockOperation = operation(&platform, IDEMPOTENCY_KEY).await.json().await.unwrap();
    assert_eq!((listed.lock_id, listed.idempotency_key.as_str()), (lock.id, IDEMPOTENCY_KEY));
    assert_eq!(listed.action, LockActionKind::IssueKey);
    assert!(
        keys(&platform).await.iter().any(|key| key.key_credential_id == listed.key_credential_id)
    );
    let tenant = platform.demo.tenants[0].id;
    let path = format!("/api/v1/locks/operations/{IDEMPOTENCY_KEY}?tenantId={tenant}");
    assert_eq!(platform.get(Lock, &path, operator).await.status(), 401);
}

#[tokio::test]
async fn a_lock_names_its_room_and_is_hidden_from_other_tenants() {
    let platform = platform::start().await;
    let (stay, lock) = guest(&platform);
    let path = format!("/api/v1/locks/{}", lock.id);
    let operator = platform.operator("frontdesk", "kabul");
    let device: LockDevice = platform.get(Lock, &path, operator).await.json().await.unwrap();
    assert_eq!((device.property_id, Some(device.room_id)), (stay.property_id, stay.room_id));
    let colleague = platform.operator("frontdesk", "dushanbe");
    assert_eq!(platform.get(Lock, &path, colleague).await.status(), 403);
    let stranger = platform.operator("gm", "shiraz");
    assert_eq!(platform.get(Lock, &path, stranger).await.status(), 404);
    let issue = format!("{path}/keys");
    let hidden =
        platform.mutate(Lock, &issue, stranger, IDEMPOTENCY_KEY, &request(&platform)).await;
    assert_eq!(hidden.status(), 404);
    let made_up: KeyCredentialId = "key_01K0000000000000000000000A".parse().unwrap();
    let revoke = format!("{path}/keys/{made_up}/revoke");
    let unknown =
        platform.mutate(Lock, &revoke, operator, IDEMPOTENCY_KEY, &json!({"reason": "lost"})).await;
    assert_eq!(unknown.status(), 404);
}

#[tokio::test]
async fn a_key_for_another_room_reservation_or_empty_time_is_refused() {
    let platform = platform::start().await;
    let operator = platform.operator("frontdesk", "kabul");
    let (_, lock) = guest(&platform);
    let path = format!("/api/v1/locks/{}/keys", lock.id);
    let elsewhere = platform.demo.rooms_of(platform.demo.properties[1].id).next().unwrap().id;
    for (member, value) in [
        ("roomIds", json!([])),
        ("roomIds", json!([lock.room_id, elsewhere])),
        ("validUntil", request(&platform)["validFrom"].clone()),
        ("preferredKinds", json!([])),
        ("reservationId", json!("rsv_01K0000000000000000000000A")),
    ] {
        let mut body = request(&platform);
        body[member] = value;
        let response = platform.mutate(Lock, &path, operator, IDEMPOTENCY_KEY, &body).await;
        assert_eq!(code(response).await, (422, "MELMASTOON.LOCK.KEY_INVALID".to_owned()), "{body}");
    }
    assert!(platform.listed("effects", Lock).await.is_empty());
}
