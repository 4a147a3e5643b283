//! Since when something is known to have changed. What was asked before is not fresh.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use contracts::id::{PropertyId, TenantId};
use contracts::upstream::Upstream;
use foldhash::quality::RandomState;
use jiff::Timestamp;
use moka::sync::Cache;

use super::Key;

/// Longer than anything is fresh: past it a mark says nothing.
pub(super) const KEPT: Duration = Duration::from_secs(600);
const MOST: u64 = 100_000;

type Place = (TenantId, Option<PropertyId>, Upstream);

#[derive(Debug, Clone)]
pub(super) struct Marks {
    places: Cache<Place, Timestamp, RandomState>,
    /// For everything; nanoseconds, saturating in 2262.
    all: Arc<AtomicI64>,
}

impl Marks {
    pub(super) fn new() -> Self {
        let places = Cache::builder().max_capacity(MOST).time_to_live(KEPT);
        let places = places.build_with_hasher(RandomState::default());
        Self { places, all: Arc::new(AtomicI64::new(i64::MIN)) }
    }

    /// The last change of what `key` reads.
    pub(super) fn of(&self, key: &Key, upstream: Option<Upstream>) -> Timestamp {
        let all = Timestamp::from_nanosecond(self.all.load(Ordering::Relaxed).into());
        let mut last = all.unwrap_or(Timestamp::MIN);
        let Some(upstream) = upstream else { return last };
        for property in [None, key.property] {
            let place = (key.tenant, property, upstream);
            last = self.places.get(&place).map_or(last, |at| at.max(last));
        }
        last
    }

    pub(super) fn set_at(
        &self,
        tenant: TenantId,
        property: Option<PropertyId>,
        upstream: Option<Upstream>,
        at: Timestamp,
    ) {
        let Some(upstream) = upstream else { return };
        let place = (tenant, property, upstream);
        if self.places.get(&place).is_none_or(|known| known < at) {
            self.places.insert(place, at);
        }
    }

    pub(super) fn set_all(&self, at: Timestamp) {
        let nanoseconds = i64::try_from(at.as_nanosecond()).unwrap_or(i64::MAX);
        self.all.fetch_max(nanoseconds, Ordering::Relaxed);
    }
}
