//! Cache outcomes per policy, as metrics and for [`crate::diagnostics`].

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use foldhash::quality::RandomState;
use metrics::{Counter, counter};
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
struct MeteredCount {
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
struct ReadMeters {
    hit: MeteredCount,
    miss: MeteredCount,
    stale: MeteredCount,
    follower: MeteredCount,
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
    pub(super) fn hit(&self, name: &'static str) {
        self.with(name, |meters| meters.hit.add());
    }

    pub(super) fn miss(&self, name: &'static str) {
        self.with(name, |meters| meters.miss.add());
    }

    pub(super) fn stale(&self, name: &'static str) {
        self.with(name, |meters| meters.stale.add());
    }

    pub(super) fn follower(&self, name: &'static str) {
        self.with(name, |meters| meters.follower.add());
    }

    pub(super) fn counts(&self, name: &str) -> CacheCounts {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.get(name).map(ReadMeters::counts).unwrap_or_default()
    }

    fn with(&self, name: &'static str, note: impl Fn(&ReadMeters)) {
        if let Some(meters) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return note(meters);
        }
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        note(all.entry(name).or_insert_with(|| ReadMeters::new(name)));
    }
}
