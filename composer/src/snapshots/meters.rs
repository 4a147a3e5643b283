//! Cache outcomes per policy, as metrics and for [`crate::diagnostics`].

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::quality::RandomState;
use metrics::{Counter, counter};
use parking_lot::RwLock;
use serde::Serialize;

/// Of one policy, since the start of the process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CacheCounts {
    /// Fresh snapshots.
    pub hits: u64,
    /// Reads without a fresh snapshot.
    pub misses: u64,
    /// Misses served by a stale snapshot.
    pub stale: u64,
    /// Misses that shared another reader's call.
    pub followers: u64,
}

impl CacheCounts {
    /// Hits per read; `None` before the first.
    pub fn hit_ratio(&self) -> Option<f64> {
        let all = self.hits + self.misses;
        (all > 0).then(|| self.hits as f64 / all as f64)
    }
}

#[derive(Debug)]
pub(super) struct MeteredCount {
    metric: Counter,
    count: AtomicU64,
}

impl MeteredCount {
    fn new(metric: Counter) -> Self {
        Self { metric, count: AtomicU64::new(0) }
    }

    fn add(&self) {
        self.metric.increment(1);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
pub(super) struct ReadMeters {
    pub(super) hit: MeteredCount,
    pub(super) miss: MeteredCount,
    pub(super) stale: MeteredCount,
    pub(super) follower: MeteredCount,
}

impl ReadMeters {
    fn new(name: &'static str) -> Self {
        let followers = "bff_backoffice_singleflight_followers_total";
        Self {
            hit: MeteredCount::new(counter!("bff_backoffice_cache_hit_total", "cache" => name)),
            miss: MeteredCount::new(counter!("bff_backoffice_cache_miss_total", "cache" => name)),
            stale: MeteredCount::new(counter!("bff_backoffice_cache_stale_total", "cache" => name)),
            follower: MeteredCount::new(counter!(followers, "key_prefix" => name)),
        }
    }

    fn counts(&self) -> CacheCounts {
        CacheCounts {
            hits: self.hit.get(),
            misses: self.miss.get(),
            stale: self.stale.get(),
            followers: self.follower.get(),
        }
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Meters(Arc<RwLock<HashMap<&'static str, ReadMeters, RandomState>>>);

impl Meters {
    pub(super) fn count(&self, name: &'static str, of: impl Fn(&ReadMeters) -> &MeteredCount) {
        if let Some(meters) = self.0.read().get(name) {
            return of(meters).add();
        }
        of(self.0.write().entry(name).or_insert_with(|| ReadMeters::new(name))).add();
    }

    pub(super) fn counts(&self, name: &str) -> CacheCounts {
        self.0.read().get(name).map(ReadMeters::counts).unwrap_or_default()
    }
}
