//! What an operator does with the keys of doors, and what the ledger of lock actions says of it.
//!
//! Not here: whether that is right; drills say that.

use std::collections::BTreeMap;

use anyhow::Context;
use launcher::desktop::Call;
use serde_json::{Value, json};

use crate::desk;
use crate::house::House;

/// A room of a guest in the house, and its lock.
#[derive(Debug, Clone)]
pub struct Door {
    pub lock: String,
    /// Of every request, so that repeats are repeats.
    wish: Value,
}

impl Door {
    /// The first of the operator's property.
    pub async fn find(house: &House) -> anyhow::Result<Self> {
        let url = format!("{}/demo/keys", house.stack.info().stand_ins.url);
        let request = house.http().get(url).query(&[("propertyId", &house.property)]);
        let list: Value = request.send().await?.error_for_status()?.json().await?;
        let key = list["items"].get(0).context("no guest of the property has a key")?;
        let lock = key["lockId"].as_str().context("a key has a lock")?.to_owned();
        let guest = json!({"id": "gst_01K0000000000000000000000A", "displayName": "A drill"});
        let wish = json!({
            "reservationId": key["reservationId"], "roomIds": key["roomIds"],
            "validFrom": key["validFrom"], "validUntil": key["validUntil"],
            "preferredKinds": ["rfid_card"], "guest": guest,
        });
        Ok(Self { lock, wish })
    }

    /// One more card like the guest's.
    pub fn issue(&self, key: &str) -> anyhow::Result<Call> {
        desk::change(format!("/locks/{}/issue-key", self.lock), key, self.wish.clone())
    }
}

/// How often a key was really made under this idempotency key.
pub async fn made(house: &House, key: &str) -> anyhow::Result<usize> {
    let url = format!("{}/control/effects?upstream=lock", house.stack.info().stand_ins.url);
    let list: Value = house.http().get(url).send().await?.error_for_status()?.json().await?;
    let done = list["items"].as_array().context("effects are a list")?;
    let is_it = |it: &&Value| it["action"] == "key.issued" && it["idempotencyKey"] == key;
    Ok(done.iter().filter(is_it).count())
}

/// The phases of the ledger's rows by idempotency key, each in their order, as a manager is told.
pub async fn ledger(house: &House) -> anyhow::Result<BTreeMap<String, Vec<String>>> {
    let (mut rows, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/locks/audit?propertyId={}&limit=200{cursor}", house.property);
        let page = desk::send(&house.desktop, &Call::get(path)).await?;
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

/// The same of one key.
pub async fn phases(house: &House, key: &str) -> anyhow::Result<Vec<String>> {
    Ok(ledger(house).await?.remove(key).unwrap_or_default())
}
