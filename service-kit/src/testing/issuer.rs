//! An issuer of tokens for service accounts, with one account per group of internal routes.

use auth::jwt::encode;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use contracts::clock::Clock;
use serde_json::{Value, json};

use crate::config::{AccountsConfig, OidcConfig};
use crate::lifecycle::Lifecycle;
use crate::testing::serve_document;

pub const SCHEDULER: &str = "scheduler@platform.test";
pub const EVENTS: &str = "events@platform.test";
pub const OPERATOR: &str = "operator@platform.test";

const ISSUER: &str = "https://accounts.test";
const AUDIENCE: &str = "https://service.test";
const KEY_ID: &str = "account-1";

#[derive(Debug)]
pub(super) struct Issuer {
    key: EcdsaKeyPair,
    clock: Clock,
    pub(super) config: OidcConfig,
}

impl Issuer {
    /// Starts the issuer, whose keys are served until the lifecycle stops.
    pub(super) async fn open(clock: Clock, lifecycle: &Lifecycle) -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        let set = json!({"keys": [public(&key)]}).to_string();
        let accounts = AccountsConfig {
            scheduler: vec![SCHEDULER.to_owned()],
            events: vec![EVENTS.to_owned()],
            operators: vec![OPERATOR.to_owned()],
        };
        let config = OidcConfig {
            issuer: ISSUER.to_owned(),
            jwks_url: serve_document(set, lifecycle).await,
            audience: AUDIENCE.to_owned(),
            accounts,
        };
        Self { key, clock, config }
    }

    /// A token of the account, issued now.
    pub(super) fn token(&self, email: &str) -> String {
        let now = self.clock.unix_seconds();
        let header = json!({"alg": "ES256", "typ": "JWT", "kid": KEY_ID});
        let claims = json!({"iss": ISSUER, "aud": AUDIENCE, "sub": email, "email": email,
            "email_verified": true, "iat": now, "exp": now + 3600});
        let part = |value: &Value| encode(value.to_string().as_bytes());
        let input = format!("{}.{}", part(&header), part(&claims));
        let signature = self.key.sign(&SystemRandom::new(), input.as_bytes());
        format!("{input}.{}", encode(signature.expect("a key signs").as_ref()))
    }
}

/// The point is not compressed: a byte 4, then x, then y (SEC 1 section 2.3.3).
fn public(key: &EcdsaKeyPair) -> Value {
    let (x, y) = key.public_key().as_ref()[1..].split_at(32);
    json!({"kty": "EC", "crv": "P-256", "kid": KEY_ID, "use": "sig", "x": encode(x), "y": encode(y)})
}
