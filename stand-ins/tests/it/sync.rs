//! sync is the authority on cursors: it tells each desktop from where to go on, lets it transfer
//! with the gateway's token and its own key, and can be made to know better than whoever cached it.

use auth::Principal;
use auth::jwt;
use contracts::clock::Entropy;
use contracts::role::RoleSet;
use contracts::upstream::Upstream::Sync;
use contracts::upstream::sync::{DeviceCursor, Handshake, SyncCursors};
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use stand_ins::demo::Operator;

use crate::world::{self, Desktop, World};

const HANDSHAKE: &str = "/api/v1/sync/handshake";
const KEY: &str = "a-key-of-a-desk-0001";
/// A week of pulls.
const KEPT: u64 = 2016;

async fn shake(world: &World, who: &Operator, body: &Value) -> reqwest::Response {
    world.mutate((Sync, HANDSHAKE), who, KEY, body).await
}

async fn shaken(world: &World, who: &Operator, body: &Value) -> Handshake {
    let answer = shake(world, who, body).await;
    assert_eq!(answer.status(), 200);
    answer.json().await.unwrap()
}

async fn put(world: &World, who: &Operator, version: u64) {
    let body = json!({"deviceId": who.device_id, "version": version});
    let answer = world.http.put(world.control("sync/cursors")).json(&body).send().await.unwrap();
    assert_eq!(answer.json::<DeviceCursor>().await.unwrap().version, version);
}

/// As the gateway asks, for no operator.
async fn cursors(world: &World, tenant: &str, property: &str) -> reqwest::Response {
    let path = format!("/api/v1/sync/tenants/{tenant}/cursors?propertyId={property}");
    let token = format!("Bearer {}", world.gateway.service_token("sync"));
    world.http.get(world.url(Sync, &path)).header("authorization", token).send().await.unwrap()
}

#[tokio::test]
async fn a_desktop_goes_on_from_where_it_stands_and_is_not_imagined_any_more() {
    let world = world::start().await;
    let desk = world.operator("frontdesk", "kabul");
    let first = shaken(&world, desk, &json!({})).await;
    assert!(first.full_resync, "it has nothing");
    assert_eq!((first.cursor.device_id, first.property_id), (desk.device_id, desk.property_ids[0]));
    world.pass(SignedDuration::from_mins(30));
    let has = json!({"cursorVersion": first.cursor.version});
    let again = shaken(&world, desk, &has).await;
    assert_eq!((again.cursor, again.full_resync), (first.cursor, false));
}

#[tokio::test]
async fn a_cursor_that_is_too_old_is_gone_and_one_from_the_future_begins_anew() {
    let world = world::start().await;
    let desk = world.operator("frontdesk", "kabul");
    put(&world, desk, 10_000).await;
    let oldest = json!({"cursorVersion": 10_000 - KEPT});
    assert!(!shaken(&world, desk, &oldest).await.full_resync);
    let gone = shake(&world, desk, &json!({"cursorVersion": 10_000 - KEPT - 1})).await;
    assert_eq!(gone.status(), 410);
    let problem: Value = gone.json().await.unwrap();
    assert_eq!(problem["code"], "MELMASTOON.SYNC.CURSOR_EXPIRED");
    let future = shaken(&world, desk, &json!({"cursorVersion": 10_001})).await;
    assert!(future.full_resync && future.cursor.version == 10_000);
    let unknown = json!({"deviceId": "dev_01K0000000000000000000000A", "version": 1});
    let answer = world.http.put(world.control("sync/cursors")).json(&unknown).send().await.unwrap();
    assert_eq!(answer.status(), 404);
}

#[tokio::test]
async fn the_gateway_itself_reads_a_tenant_s_cursors_and_nobody_else_does() {
    let world = world::start().await;
    let desk = world.operator("frontdesk", "kabul");
    put(&world, desk, 7).await;
    let (tenant, property) = (desk.tenant_id.as_str(), desk.property_ids[0].as_str());
    let told: SyncCursors = cursors(&world, tenant, property).await.json().await.unwrap();
    let own = told.items.iter().find(|it| it.device_id == desk.device_id).unwrap();
    assert_eq!(own.version, 7);
    let stranger = world.operator("gm", "shiraz");
    let other = cursors(&world, stranger.tenant_id.as_str(), property).await;
    assert_eq!(other.status(), 404);
    let path = format!("/api/v1/sync/tenants/{tenant}/cursors?propertyId={property}");
    assert_eq!(world.get(Sync, &path, desk).await.status(), 401);
}

/// A desktop's own key, and proofs by it.
struct Seat {
    key: EncodingKey,
    jkt: String,
}

impl Seat {
    fn new() -> Self {
        let pem = rcgen::KeyPair::generate().unwrap().serialize_pem();
        let key = EncodingKey::from_ec_pem(pem.as_bytes()).unwrap();
        let jwk = Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap();
        let jkt = jwk.thumbprint(jsonwebtoken::jwk::ThumbprintHash::SHA256).unwrap();
        Self { key, jkt }
    }

    fn proof(&self, url: &str, token: &str, now: Timestamp) -> String {
        let claims = json!({
            "jti": format!("{:032x}", Entropy::system().u128()), "htm": "POST", "htu": url,
            "iat": now.as_second(), "ath": jwt::encode(&Sha256::digest(token)),
        });
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some("dpop+jwt".to_owned());
        header.jwk = Some(Jwk::from_encoding_key(&self.key, Algorithm::ES256).unwrap());
        encode(&header, &claims, &self.key).unwrap()
    }
}

fn token(world: &World, who: &Operator, seat: &Seat) -> String {
    let principal = Principal {
        tenant: who.tenant_id,
        operator: who.id,
        device: who.device_id,
        session: None,
        roles: RoleSet::of(&who.roles),
        properties: who.property_ids.clone(),
        issued_at: world.now(),
        expires_at: world.now(),
        thumbprint: Some(seat.jkt.as_str().into()),
        token_digest: [0; 32],
    };
    world.gateway.sync_session(&principal, "sync").unwrap().text
}

async fn transfer(world: &World, url: &str, token: &str, proof: &str) -> reqwest::Response {
    let request = world.http.post(url).header("authorization", format!("DPoP {token}"));
    request.header("dpop", proof).send().await.unwrap()
}

#[tokio::test]
async fn a_pull_with_the_handshake_s_token_moves_the_cursor_and_no_other_request_does() {
    let world = world::start().await;
    let (desk, seat) = (world.operator("frontdesk", "kabul"), Seat::new());
    let hands = shaken(&world, desk, &json!({})).await;
    let (url, token) = (hands.pull_url.as_str(), token(&world, desk, &seat));
    let proof = seat.proof(url, &token, world.now());
    let pulled: DeviceCursor = transfer(&world, url, &token, &proof).await.json().await.unwrap();
    assert_eq!(pulled.version, hands.cursor.version + 1);
    let refused = [
        (proof, token.clone()),
        (Seat::new().proof(url, &token, world.now()), token.clone()),
        (seat.proof(&hands.push_url, &token, world.now()), token.clone()),
        (Desktop::new().proof(&world), token.clone()),
        (seat.proof(url, "another", world.now()), token),
    ];
    for (proof, token) in refused {
        assert_eq!(transfer(&world, url, &token, &proof).await.status(), 401);
    }
    let request = world.request_token(Sync, desk).replace("Bearer ", "");
    let proof = seat.proof(url, &request, world.now());
    assert_eq!(transfer(&world, url, &request, &proof).await.status(), 401);
    let after = shaken(&world, desk, &json!({"cursorVersion": pulled.version})).await;
    assert_eq!((after.cursor, after.full_resync), (pulled, false));
}

#[tokio::test]
async fn a_push_is_noted_and_brings_nothing() {
    let world = world::start().await;
    let (desk, seat) = (world.operator("frontdesk", "kabul"), Seat::new());
    let hands = shaken(&world, desk, &json!({})).await;
    let token = token(&world, desk, &seat);
    let proof = seat.proof(&hands.push_url, &token, world.now());
    let pushed: DeviceCursor =
        transfer(&world, &hands.push_url, &token, &proof).await.json().await.unwrap();
    assert_eq!(pushed.version, hands.cursor.version);
    assert!(pushed.last_push_at > hands.cursor.last_push_at);
}
