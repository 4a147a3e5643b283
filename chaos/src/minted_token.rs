//! Access tokens that the stand-in iam would issue at another time or for another device: an issued one
//! with other claims, signed with iam's key.

use anyhow::Context;
use auth::jwt::decoded;
use contracts::clock::Clock;
use launcher::data_dir::DataDir;
use launcher::desktop::DeviceKey;
use launcher::secrets::signing_key;
use serde_json::{Value, json};

use crate::drill_env::DrillEnv;

/// Seconds that a token of iam lasts.
const LIFETIME_SECONDS: i64 = 15 * 60;

/// iam's signing key.
#[derive(Debug)]
pub struct Mint(DeviceKey);

impl Mint {
    pub fn of(env: &DrillEnv) -> anyhow::Result<Self> {
        let pem = std::fs::read(signing_key(&DataDir::open(&env.folder)?, "iam")?)?;
        Ok(Self(DeviceKey::from_pem(&pem)?))
    }

    /// Signs the token again after `change` to its claims.
    pub fn sign(&self, token: &str, change: impl FnOnce(&mut Value)) -> anyhow::Result<String> {
        let mut parts = token.split('.').map(|part| {
            let bytes = decoded(part).context("a token is base64url")?;
            anyhow::Ok(serde_json::from_slice::<Value>(&bytes)?)
        });
        let header = parts.next().context("a token has a header")??;
        let mut claims = parts.next().context("a token has claims")??;
        change(&mut claims);
        self.0.sign(&header, &claims)
    }

    /// Signs the token as if iam had issued it so long ago that it ends in `seconds`.
    pub fn ending_in(&self, token: &str, seconds: i64) -> anyhow::Result<String> {
        let end = Clock::system().unix_seconds() + seconds;
        self.sign(token, |claims| {
            (claims["iat"], claims["exp"]) = (json!(end - LIFETIME_SECONDS), json!(end));
        })
    }
}
