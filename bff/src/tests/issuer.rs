//! An issuer of service accounts' tokens, its keys on a socket of their own.

use std::sync::Arc;
use std::time::Duration;

use auth::edge::RemoteKeys;
use contracts::clock::Clock;
use serde_json::{Value, json};
use service_kit::config::{AccountsConfig, OidcConfig};
use service_kit::identity::Identity;

use crate::tests::key::{Key, serve_keys};

pub(crate) const ISSUER: &str = "https://accounts.test";
pub(crate) const AUDIENCE: &str = "https://gateway.internal.test";
pub(crate) const SCHEDULER: &str = "scheduler@platform.test";
pub(crate) const EVENTS: &str = "events@platform.test";
/// Two platform operators.
pub(crate) const FIRST: &str = "first@platform.test";
pub(crate) const SECOND: &str = "second@platform.test";

pub(crate) struct Issuer {
    key: Key,
    config: OidcConfig,
}

impl Issuer {
    pub(crate) async fn open() -> Self {
        let key = Key::new();
        let config = OidcConfig {
            issuer: ISSUER.into(),
            jwks_url: serve_keys(&key).await,
            audience: AUDIENCE.into(),
            accounts: AccountsConfig {
                scheduler: vec![SCHEDULER.into()],
                events: vec![EVENTS.into()],
                operators: vec![FIRST.into(), SECOND.into()],
            },
        };
        Self { key, config }
    }

    pub(crate) fn identity(&self, clock: Clock) -> Arc<Identity> {
        let client = service_kit::http_client::short_requests();
        let keys = RemoteKeys::new(self.config.jwks_url.clone(), client, Duration::from_secs(1));
        Arc::new(Identity::new(&self.config, keys, clock))
    }

    /// A valid token of this account, at the clock's instant.
    pub(crate) fn token_of(&self, email: &str, clock: &Clock) -> String {
        self.token(
            &json!({}),
            &json!({"email": email, "sub": email, "iat": clock.unix_seconds(),
            "exp": clock.unix_seconds() + 3600}),
        )
    }

    /// A token of the scheduler, valid except for the changes; `null` removes a claim.
    pub(crate) fn token(&self, header: &Value, changes: &Value) -> String {
        let now = Clock::system().unix_seconds();
        let mut claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": "1104", "email": SCHEDULER,
            "email_verified": true, "iat": now, "exp": now + 3600,
        });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        let mut all = json!({"alg": "ES256", "typ": "JWT", "kid": "iam-1"});
        for (name, value) in header.as_object().unwrap() {
            all[name] = value.clone();
        }
        self.key.sign(&all, &claims)
    }

    /// A valid signature over these texts.
    pub(crate) fn token_of_texts(&self, header: &str, claims: &str) -> String {
        self.key.sign_texts(header, claims)
    }
}
