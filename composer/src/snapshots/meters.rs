//! How reads ended: as metrics, looked up by their labels once, and as counts for the reading aid.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use foldhash::quality::RandomState;
use metrics::{Counter, counter};
use serde::Serialize;

/// Of one rule, since the program started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CacheCounts {
    /// Shown fresh, without asking.
    pub hits: u64,
    /// The upstream was to be asked.
    pub misses: u64,
    /// Of the misses: shown with its age.
    pub stale: u64,
    /// Of the misses: waited for somebody else's question.
    pub followers: u64,
}

impl CacheCounts {
    /// Hits of all reads; nothing before the first.
    pub fn hit_ratio(&self) -> Option<f64> {
        let all = self.hits + self.misses;
        (all > 0).then(|| self.hits as f64 / all as f64)
    }
}

#[derive(Debug)]
struct Counted {
    metric: Counter,
    count: AtomicU64,
}

impl Counted {
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
struct Of {
    hit: Counted,
    miss: Counted,
    stale: Counted,
    follower: Counted,
}

impl Of {
    fn looked_up(name: &'static str) -> Self {
        let followers = "bff_backoffice_singleflight_followers_total";
        Self {
            hit: Counted::new(counter!("bff_backoffice_cache_hit_total", "cache" => name)),
            miss: Counted::new(counter!("bff_backoffice_cache_miss_total", "cache" => name)),
            stale: Counted::new(counter!("bff_backoffice_cache_stale_total", "cache" => name)),
            follower: Counted::new(counter!(followers, "key_prefix" => name)),
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
pub(super) struct Meters(Arc<RwLock<HashMap<&'static str, Of, RandomState>>>);

impl Meters {
    pub(super) fn hit(&self, name: &'static str) {
        self.with(name, |of| of.hit.add());
    }

    pub(super) fn miss(&self, name: &'static str) {
        self.with(name, |of| of.miss.add());
    }

    pub(super) fn stale(&self, name: &'static str) {
        self.with(name, |of| of.stale.add());
    }

    pub(super) fn follower(&self, name: &'static str) {
        self.with(name, |of| of.follower.add());
    }

    pub(super) fn counts(&self, name: &str) -> CacheCounts {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.get(name).map(Of::counts).unwrap_or_default()
    }

    fn with(&self, name: &'static str, note: impl Fn(&Of)) {
        if let Some(of) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return note(of);
        }
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        note(all.entry(name).or_insert_with(|| Of::looked_up(name)));
    }
}
