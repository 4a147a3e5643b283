//! Probes that snapshots are kept apart by tenant: one is kept as one tenant, looked up as another, and
//! removed, in this process and in the cache store, under the keys that reads use.

use std::sync::Arc;
use std::time::Duration;

use contracts::id::{Id, PropertyId, TenantId};
use contracts::safeguard::{Safeguard, time_limit};
use contracts::upstream::Upstream;
use jiff::Timestamp;

use super::cache_store::{CacheStore, no_answer};
use super::snapshot::{Fetched, Snapshot};
use super::{Key, Snapshots};
use crate::read_policy::ReadPolicy;

/// Expires soon, if a probe dies before it removes its snapshots.
static PROBE: ReadPolicy =
    ReadPolicy::new("isolationProbe", Upstream::Property, 100).fresh_secs(60);
/// Timeout of one command of the probe; longer than a read waits.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(1);

/// Whether a probe found a value as its own tenant, and as another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundBy {
    pub own: bool,
    pub other: bool,
}

/// The keys of one tenant: of a property, and of something with an id. They have the same property and
/// the same id for every tenant.
fn keys(tenant: TenantId) -> [Key; 2] {
    let property = PropertyId::from_parts(Timestamp::UNIX_EPOCH, 1);
    [Key::of_property(&PROBE, tenant, property), Key::of_id(&PROBE, tenant, "probe")]
}

/// Own: all of them. Other: any of them.
fn found_by(own: [bool; 2], other: [bool; 2]) -> FoundBy {
    FoundBy { own: own == [true; 2], other: other != [false; 2] }
}

impl Snapshots {
    fn probe_snapshot(&self) -> Snapshot {
        let now = self.clock.now();
        let property = PropertyId::from_parts(Timestamp::UNIX_EPOCH, 1);
        Fetched::new(property, now, &"probe").into_snapshot(now)
    }

    /// Probes this process's snapshots.
    pub fn probe_memory(&self, one: TenantId, other: TenantId) -> FoundBy {
        let (own, snapshot) = (keys(one), Arc::new(self.probe_snapshot()));
        for key in &own {
            self.local.put(key, Arc::clone(&snapshot), &PROBE);
        }
        let finds = |keys: &[Key; 2]| keys.each_ref().map(|key| self.local.get(key).is_some());
        let found = found_by(finds(&own), finds(&keys(other)));
        for key in &own {
            self.local.remove(key);
        }
        found
    }

    /// Probes the cache store; `None` without one.
    pub async fn probe_cache_store(
        &self,
        one: TenantId,
        other: TenantId,
    ) -> Option<redis::RedisResult<FoundBy>> {
        let store = self.cache_store.as_ref()?;
        Some(probe_store(store, one, other, &self.probe_snapshot()).await)
    }
}

async fn probe_store(
    store: &CacheStore,
    one: TenantId,
    other: TenantId,
    snapshot: &Snapshot,
) -> redis::RedisResult<FoundBy> {
    let (own, limit) = (keys(one), time_limit(Safeguard::Deadlines, COMMAND_TIMEOUT));
    for key in &own {
        store.put_now(&PROBE, key, snapshot, limit).await?;
    }
    let found =
        found_by(has(store, own.clone(), limit).await?, has(store, keys(other), limit).await?);
    for key in &own {
        store.remove_now(key, limit).await?;
    }
    Ok(found)
}

/// Which of the keys have a snapshot, read as requests do.
async fn has(store: &CacheStore, keys: [Key; 2], limit: Duration) -> redis::RedisResult<[bool; 2]> {
    let reads = keys.map(|key| (&PROBE, key));
    let found = store.get(&reads.each_ref(), limit).await;
    match &found[..] {
        [one, two] => Ok([one.snapshot.is_some(), two.snapshot.is_some()]),
        _ => Err(no_answer()),
    }
}
