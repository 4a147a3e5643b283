//! In-process snapshots, bounded in bytes (least recently used entries are evicted).

use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::quality::RandomState;
use moka::Expiry;
use moka::sync::Cache;

use super::key::Key;
use super::snapshot::Snapshot;
use crate::read_policy::ReadPolicy;

const MAX_BYTES: u64 = 64 * 1024 * 1024;
/// Memory of an entry, not counting its content.
const ENTRY_OVERHEAD_BYTES: usize = 512;

#[derive(Debug, Clone)]
struct Entry {
    snapshot: Arc<Snapshot>,
    /// Until it may not even be shown stale.
    ttl: Duration,
}

#[derive(Debug, Clone)]
pub(super) struct LocalCache(Cache<Key, Entry, RandomState>);

struct EntryTtl;

impl Expiry<Key, Entry> for EntryTtl {
    fn expire_after_create(&self, _: &Key, entry: &Entry, _: Instant) -> Option<Duration> {
        Some(entry.ttl)
    }

    fn expire_after_update(
        &self,
        _: &Key,
        entry: &Entry,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(entry.ttl)
    }
}

impl LocalCache {
    pub(super) fn new() -> Self {
        let weigh = |_: &Key, entry: &Entry| (entry.snapshot.size() + ENTRY_OVERHEAD_BYTES) as u32;
        let cache = Cache::builder().max_capacity(MAX_BYTES).weigher(weigh).expire_after(EntryTtl);
        Self(cache.build_with_hasher(RandomState::default()))
    }

    pub(super) fn get(&self, key: &Key) -> Option<Arc<Snapshot>> {
        self.0.get(&*key.kept()).map(|entry| entry.snapshot)
    }

    pub(super) fn put(&self, key: &Key, snapshot: Arc<Snapshot>, policy: &ReadPolicy) {
        self.0
            .insert(key.kept().into_owned(), Entry { snapshot, ttl: policy.fresh + policy.stale });
    }

    pub(super) fn remove(&self, key: &Key) {
        self.0.invalidate(&*key.kept());
    }

    /// Number of snapshots, without those that have expired.
    #[cfg(test)]
    pub(super) fn len(&self) -> u64 {
        self.0.run_pending_tasks();
        self.0.entry_count()
    }

    /// Inserts the snapshot unless this process has a newer one.
    pub(super) fn put_newer(&self, key: &Key, snapshot: Snapshot, policy: &ReadPolicy) {
        let is_older = self.get(key).is_some_and(|held| held.requested_at >= snapshot.requested_at);
        if !is_older {
            self.put(key, Arc::new(snapshot), policy);
        }
    }
}
