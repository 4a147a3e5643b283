//! Cursors, the handshake, and transfers with the handshake token.

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

use crate::platform::{self, Desktop, TestPlatform};

const HANDSHAKE_PATH: &str = "/api/v1/sync/handshake";
const IDEMPOTENCY_KEY: &str = "a-key-of-a-desktop-0001";
/// A week of pulls.
const MAX_VERSIONS_BEHIND: u64 = 2016;

async fn shake(platform: &TestPlatform, who: &Operator, body: &Value) -> reqwest::Response {
    platform.mutate(Sync, HANDSHAKE_PATH, who, IDEMPOTENCY_KEY, body).await
}

async fn shaken(platform: &TestPlatform, who: &Operator, body: &Value) -> Handshake {
    let response = shake(platform, who, body).await;
    assert_eq!(response.status(), 200);
    response.json().await.unwrap()
}

async fn put(platform: &TestPlatform, who: &Operator, version: u64) {
    let body = json!({"deviceId": who.device_id, "version": version});
    let response =
        platform.http.put(platform.control("sync/cursors")).json(&body).send().await.unwrap();
    assert_eq!(response.json::<DeviceCursor>().await.unwrap().version, version);
}

/// Reads the cursors of a tenant as the gateway itself.
async fn cursors(platform: &TestPlatform, tenant: &str, property: &str) -> reqwest::Response {
    let path = format!("/api/v1/sync/tenants/{tenant}/cursors?propertyId={property}");
    let token = format!("Bearer {}", platform.gateway.service_token("sync"));
    platform
        .http
        .get(platform.url(Sync, &path))
        .header("authorization", token)
        .send()
        .await
        .unwrap()
}

#[tokio::test]
async fn after_a_handshake_the_cursor_of_a_desktop_is_no_longer_simulated() {
    let platform = platform::start().await;
    let operator = platform.operator("frontdesk", "kabul");
    let first = shaken(&platform, operator, &json!({})).await;
    assert!(first.full_resync, "it has nothing");
    assert_eq!(
        (first.cursor.device_id, first.property_id),
        (operator.device_id, operator.property_ids[0])
    );
    platform.pass(SignedDuration::from_mins(30));
    let has = json!({"cursorVersion": first.cursor.version});
    let again = shaken(&platform, operator, &has).await;
    assert_eq!((again.cursor, again.full_resync), (first.cursor, false));
}

#[tokio::test]
async fn an_expired_cursor_is_410_and_one_from_the_future_needs_a_full_resync() {
    let platform = platform::start().await;
    let operator = platform.operator("frontdesk", "kabul");
    put(&platform, operator, 10_000).await;
    let oldest = json!({"cursorVersion": 10_000 - MAX_VERSIONS_BEHIND});
    assert!(!shaken(&platform, operator, &oldest).await.full_resync);
    let gone =
        shake(&platform, operator, &json!({"cursorVersion": 10_000 - MAX_VERSIONS_BEHIND - 1}))
            .await;
    assert_eq!(gone.status(), 410);
    let problem: Value = gone.json().await.unwrap();
    assert_eq!(problem["code"], "MELMASTOON.SYNC.CURSOR_EXPIRED");
    let future = shaken(&platform, operator, &json!({"cursorVersion": 10_001})).await;
    assert!(future.full_resync && future.cursor.version == 10_000);
    let unknown = json!({"deviceId": "dev_01K0000000000000000000000A", "version": 1});
    let response =
        platform.http.put(platform.control("sync/cursors")).json(&unknown).send().await.unwrap();
    assert_eq!(response.status(), 404);
}

#[tokio::test]
async fn only_the_gateway_itself_reads_the_cursors_of_a_tenant() {
    let platform = platform::start().await;
    let operator = platform.operator("frontdesk", "kabul");
    put(&platform, operator, 7).await;
    let (tenant, property) = (operator.tenant_id.as_str(), operator.property_ids[0].as_str());
    let listed: SyncCursors = cursors(&platform, tenant, property).await.json().await.unwrap();
    let own = listed.items.iter().find(|device| device.device_id == operator.device_id).unwrap();
    assert_eq!(own.version, 7);
    let stranger = platform.operator("gm", "shiraz");
    let other = cursors(&platform, stranger.tenant_id.as_str(), property).await;
    assert_eq!(other.status(), 404);
    let path = format!("/api/v1/sync/tenants/{tenant}/cursors?propertyId={property}");
    assert_eq!(platform.get(Sync, &path, operator).await.status(), 401);
}

/// A desktop's key, which makes proofs.
struct DesktopKey {
    key: EncodingKey,
    jkt: String,
}

impl DesktopKey {
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

fn token(platform: &TestPlatform, who: &Operator, desktop_key: &DesktopKey) -> String {
    let principal = Principal {
        tenant: who.tenant_id,
        operator: who.id,
        device: who.device_id,
        session: None,
        roles: RoleSet::of(&who.roles),
        properties: who.property_ids.clone(),
        issued_at: platform.now(),
        expires_at: platform.now(),
        thumbprint: Some(desktop_key.jkt.as_str().into()),
        token_digest: [0; 32],
    };
    platform.gateway.sync_session(&principal, "sync").unwrap().text
}

async fn transfer(
    platform: &TestPlatform,
    url: &str,
    token: &str,
    proof: &str,
) -> reqwest::Response {
    let request = platform.http.post(url).header("authorization", format!("DPoP {token}"));
    request.header("dpop", proof).send().await.unwrap()
}

#[tokio::test]
async fn a_pull_with_the_handshake_s_token_moves_the_cursor_and_no_other_request_does() {
    let platform = platform::start().await;
    let (operator, desktop_key) = (platform.operator("frontdesk", "kabul"), DesktopKey::new());
    let hands = shaken(&platform, operator, &json!({})).await;
    let (url, token) = (hands.pull_url.as_str(), token(&platform, operator, &desktop_key));
    let proof = desktop_key.proof(url, &token, platform.now());
    let pulled: DeviceCursor = transfer(&platform, url, &token, &proof).await.json().await.unwrap();
    assert_eq!(pulled.version, hands.cursor.version + 1);
    let refused = [
        (proof, token.clone()),
        (DesktopKey::new().proof(url, &token, platform.now()), token.clone()),
        (desktop_key.proof(&hands.push_url, &token, platform.now()), token.clone()),
        (Desktop::new().proof(&platform), token.clone()),
        (desktop_key.proof(url, "another", platform.now()), token),
    ];
    for (proof, token) in refused {
        assert_eq!(transfer(&platform, url, &token, &proof).await.status(), 401);
    }
    let request = platform.request_token(Sync, operator).replace("Bearer ", "");
    let proof = desktop_key.proof(url, &request, platform.now());
    assert_eq!(transfer(&platform, url, &request, &proof).await.status(), 401);
    let after = shaken(&platform, operator, &json!({"cursorVersion": pulled.version})).await;
    assert_eq!((after.cursor, after.full_resync), (pulled, false));
}

#[tokio::test]
async fn a_push_moves_only_the_time_of_the_last_push() {
    let platform = platform::start().await;
    let (operator, desktop_key) = (platform.operator("frontdesk", "kabul"), DesktopKey::new());
    let hands = shaken(&platform, operator, &json!({})).await;
    let token = token(&platform, operator, &desktop_key);
    let proof = desktop_key.proof(&hands.push_url, &token, platform.now());
    let pushed: DeviceCursor =
        transfer(&platform, &hands.push_url, &token, &proof).await.json().await.unwrap();
    assert_eq!(pushed.version, hands.cursor.version);
    assert!(pushed.last_push_at > hands.cursor.last_push_at);
}
