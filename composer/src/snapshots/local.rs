//! The snapshots of this process: bounded in bytes, the least used go first.

use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::quality::RandomState;
use moka::Expiry;
use moka::sync::Cache;

use super::{Key, Rule, Snapshot};

/// Bytes of content.
const LARGEST: u64 = 64 * 1024 * 1024;
/// What an entry costs besides its content.
const OVERHEAD: usize = 512;

#[derive(Debug, Clone)]
struct Kept {
    snapshot: Arc<Snapshot>,
    /// Past this it is not even stale.
    useful: Duration,
}

#[derive(Debug, Clone)]
pub(super) struct Local(Cache<Key, Kept, RandomState>);

struct Useful;

impl Expiry<Key, Kept> for Useful {
    fn expire_after_create(&self, _: &Key, kept: &Kept, _: Instant) -> Option<Duration> {
        Some(kept.useful)
    }

    fn expire_after_update(
        &self,
        _: &Key,
        kept: &Kept,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(kept.useful)
    }
}

impl Local {
    pub(super) fn new() -> Self {
        let weigh = |_: &Key, kept: &Kept| (kept.snapshot.size() + OVERHEAD) as u32;
        let cache = Cache::builder().max_capacity(LARGEST).weigher(weigh).expire_after(Useful);
        Self(cache.build_with_hasher(RandomState::default()))
    }

    pub(super) fn get(&self, key: &Key) -> Option<Arc<Snapshot>> {
        self.0.get(key).map(|kept| kept.snapshot)
    }

    pub(super) fn put(&self, key: &Key, snapshot: Arc<Snapshot>, rule: &Rule) {
        self.0.insert(key.clone(), Kept { snapshot, useful: rule.fresh + rule.stale });
    }

    /// Unless this process has something newer.
    pub(super) fn put_newer(&self, key: &Key, snapshot: Snapshot, rule: &Rule) {
        let is_older = self.get(key).is_some_and(|held| held.asked_at >= snapshot.asked_at);
        if !is_older {
            self.put(key, Arc::new(snapshot), rule);
        }
    }
}
