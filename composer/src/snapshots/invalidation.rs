//! The last invalidation per tenant, property and upstream. Snapshots requested before it are
//! stale.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use contracts::id::{PropertyId, TenantId};
use contracts::upstream::Upstream;
use foldhash::quality::RandomState;
use jiff::Timestamp;
use moka::sync::Cache;

use super::key::Key;

/// Longer than any freshness, so that an expired entry has no effect.
pub(super) const INVALIDATION_TTL: Duration = Duration::from_secs(600);
const MAX_SCOPES: u64 = 100_000;

type Scope = (TenantId, Option<PropertyId>, Upstream);

#[derive(Debug, Clone)]
pub(super) struct Invalidations {
    by_scope: Cache<Scope, Timestamp, RandomState>,
    /// Of everything; in nanoseconds, saturating in 2262.
    all: Arc<AtomicI64>,
}

impl Invalidations {
    pub(super) fn new() -> Self {
        let by_scope = Cache::builder().max_capacity(MAX_SCOPES).time_to_live(INVALIDATION_TTL);
        let by_scope = by_scope.build_with_hasher(RandomState::default());
        Self { by_scope, all: Arc::new(AtomicI64::new(i64::MIN)) }
    }

    /// The last invalidation that affects `key`.
    pub(super) fn last_for(&self, key: &Key, upstream: Option<Upstream>) -> Timestamp {
        let all = Timestamp::from_nanosecond(self.all.load(Ordering::Relaxed).into());
        let mut last = all.unwrap_or(Timestamp::MIN);
        let Some(upstream) = upstream else { return last };
        for property in [None, key.property] {
            let scope = (key.tenant, property, upstream);
            last = self.by_scope.get(&scope).map_or(last, |at| at.max(last));
        }
        last
    }

    pub(super) fn record(
        &self,
        tenant: TenantId,
        property: Option<PropertyId>,
        upstream: Option<Upstream>,
        at: Timestamp,
    ) {
        let Some(upstream) = upstream else { return };
        let scope = (tenant, property, upstream);
        if self.by_scope.get(&scope).is_none_or(|known| known < at) {
            self.by_scope.insert(scope, at);
        }
    }

    pub(super) fn record_all(&self, at: Timestamp) {
        let nanoseconds = i64::try_from(at.as_nanosecond()).unwrap_or(i64::MAX);
        self.all.fetch_max(nanoseconds, Ordering::Relaxed);
    }
}
