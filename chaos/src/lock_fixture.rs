//! Room key requests of an operator, and the lock audit log about them.
//!
//! Not here: expectations, which are part of the drills.

use std::collections::BTreeMap;

use anyhow::Context;
use contracts::headers::MFA_ATTESTATION;
use launcher::desktop::Call;
use serde_json::{Value, json};

use crate::client;
use crate::drill_env::DrillEnv;

/// The lock of a current guest's room, and a key request for it.
#[derive(Debug, Clone)]
pub struct LockFixture {
    pub lock: String,
    /// Body of every request, so that a repeat equals its original.
    key_request: Value,
}

impl LockFixture {
    /// Finds the first lock with a key in the operator's property.
    pub async fn find(env: &DrillEnv) -> anyhow::Result<Self> {
        Self::find_at(env, &env.property).await
    }

    /// Finds the first lock with a key in any property.
    pub async fn find_at(env: &DrillEnv, property: &str) -> anyhow::Result<Self> {
        let url = format!("{}/demo/keys", env.stack.info().stand_ins.url);
        let request = env.http().get(url).query(&[("propertyId", property)]);
        let list: Value = request.send().await?.error_for_status()?.json().await?;
        let key = list["items"].get(0).context("no guest of the property has a key")?;
        let lock = key["lockId"].as_str().context("a key has a lock")?.to_owned();
        let guest = json!({"id": "gst_01K0000000000000000000000A", "displayName": "A drill"});
        let key_request = json!({
            "reservationId": key["reservationId"], "roomIds": key["roomIds"],
            "validFrom": key["validFrom"], "validUntil": key["validUntil"],
            "preferredKinds": ["rfid_card"], "guest": guest,
        });
        Ok(Self { lock, key_request })
    }

    /// Builds a request for another card like the guest's.
    pub fn issue(&self, key: &str) -> anyhow::Result<Call> {
        client::change(format!("/locks/{}/issue-key", self.lock), key, self.key_request.clone())
    }
}

/// A room key that was issued.
#[derive(Debug, Clone)]
pub struct IssuedKey {
    lock: String,
    id: String,
}

impl IssuedKey {
    /// Issues a key for the lock.
    pub async fn issue(env: &DrillEnv, at: &LockFixture) -> anyhow::Result<Self> {
        let issued = client::send(&env.desktop, &at.issue(&client::new_key())?).await?;
        let id = issued.body["keyCredentialId"].as_str();
        let id = id.with_context(|| format!("no key was issued: {issued}"))?;
        Ok(Self { lock: at.lock.clone(), id: id.to_owned() })
    }

    /// Builds the request that revokes it.
    pub fn revoke(&self, key: &str, attestation: Option<&str>) -> anyhow::Result<Call> {
        let body = json!({"keyCredentialId": self.id, "reason": "a drill"});
        let mut call = client::change(format!("/locks/{}/revoke-key", self.lock), key, body)?;
        if let Some(attestation) = attestation {
            client::set(&mut call, MFA_ATTESTATION, attestation)?;
        }
        Ok(call)
    }

    /// Counts how often lock-integration revoked it.
    pub async fn times_revoked(&self, env: &DrillEnv) -> anyhow::Result<usize> {
        client::effects(env, "lock", "key.revoked", &self.id).await
    }
}

/// Counts the keys that lock-integration issued under this idempotency key.
pub async fn keys_issued(env: &DrillEnv, key: &str) -> anyhow::Result<usize> {
    let url = format!("{}/control/effects?upstream=lock", env.stack.info().stand_ins.url);
    let list: Value = env.http().get(url).send().await?.error_for_status()?.json().await?;
    let done = list["items"].as_array().context("effects are a list")?;
    let is_it =
        |effect: &&Value| effect["action"] == "key.issued" && effect["idempotencyKey"] == key;
    Ok(done.iter().filter(is_it).count())
}

/// Phases of the lock audit rows, in order, by idempotency key.
pub async fn audit_phases(env: &DrillEnv) -> anyhow::Result<BTreeMap<String, Vec<String>>> {
    let (mut rows, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/locks/audit?propertyId={}&limit=200{cursor}", env.property);
        let page = client::send(&env.desktop, &Call::get(path)).await?;
        let items = page.body["items"].as_array().with_context(|| format!("no ledger: {page}"))?;
        rows.extend(items.iter().cloned());
        let Some(next) = page.body["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    let mut phases: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in rows.iter().rev() {
        let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        phases.entry(text("idempotencyKey")).or_default().push(text("phase"));
    }
    Ok(phases)
}

/// Phases of one idempotency key.
pub async fn phases_of_key(env: &DrillEnv, key: &str) -> anyhow::Result<Vec<String>> {
    Ok(audit_phases(env).await?.remove(key).unwrap_or_default())
}
