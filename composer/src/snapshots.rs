//! Cache of upstream responses, for as long as each may be shown.
//!
//! Two levels: this process, and the cache store (Redis) that all instances share. A read returns a
//! fresh snapshot; else it calls the upstream, sharing the call with concurrent reads of the same
//! key; else it returns a stale snapshot with its age. Every key contains the tenant, by its type.
//!
//! Not here: what is read and how a response becomes a snapshot; both come with the read.

mod cache_store;
mod invalidation;
mod isolation;
mod key;
mod local;
mod meters;
mod reading;
mod sharing;
mod single_flight;
mod snapshot;
#[cfg(test)]
mod tests;
mod time_zones;

use std::sync::Arc;
use std::time::Duration;

use contracts::clock::Clock;
use contracts::id::{PropertyId, TenantId};
use contracts::safeguard;
use contracts::safeguard::{Safeguard, time_limit};
use contracts::upstream::Upstream;
use derive_more::Deref;
use futures_util::FutureExt;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;
use upstream_clients::{CallContext, CallError};

use crate::read_policy::ReadPolicy;
pub use crate::source::Source;
pub use cache_store::{CacheStore, INVALIDATION_CHANNEL};
use invalidation::Invalidations;
pub use isolation::FoundBy;
pub use key::Key;
use local::LocalCache;
pub use meters::CacheCounts;
use meters::Meters;
pub use reading::{ReadError, Reading};
use sharing::Read;
use single_flight::{CallOutcome, DEADLINE_GRACE, SingleFlight};
pub use snapshot::{FetchFuture, Fetched, Snapshot};
use time_zones::TimeZones;

/// With a stale snapshot at hand, a read waits no longer than this for a newer one.
const MAX_WAIT_WITH_STALE: Duration = Duration::from_millis(100);
/// Timeout of a cache store read.
const TIER_ANSWERS_WITHIN: Duration = Duration::from_millis(25);

/// Cheap to clone.
#[derive(Debug, Clone, Deref)]
pub struct Snapshots(#[deref(forward)] Arc<Inner>);

#[derive(Debug, Clone)]
pub struct Inner {
    local: LocalCache,
    cache_store: Option<CacheStore>,
    single_flight: SingleFlight,
    invalidations: Invalidations,
    time_zones: TimeZones,
    meters: Meters,
    clock: Clock,
    tasks: TaskTracker,
    is_caching: bool,
}

impl Snapshots {
    /// `tasks` runs work that outlives the read that started it. Without a cache store each process
    /// has its own snapshots only.
    pub fn new(clock: Clock, tasks: TaskTracker, cache_store: Option<CacheStore>) -> Self {
        Self(Arc::new(Inner {
            local: LocalCache::new(),
            cache_store,
            single_flight: SingleFlight::default(),
            invalidations: Invalidations::new(),
            time_zones: TimeZones::new(),
            meters: Meters::default(),
            clock,
            tasks,
            is_caching: true,
        }))
    }

    /// Disables caching: every read calls its upstream, but concurrent reads still share a call.
    #[must_use]
    pub fn without_cache(mut self) -> Self {
        Arc::make_mut(&mut self.0).is_caching = false;
        self
    }

    /// Runs work that outlives the request that started it.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    fn is_cached(&self, policy: &ReadPolicy) -> bool {
        self.is_caching && !policy.fresh.is_zero()
    }

    /// Cache hits and misses of this policy.
    pub fn counts(&self, policy: &ReadPolicy) -> CacheCounts {
        self.meters.counts(policy.name)
    }

    /// Loads snapshots that this process does not have fresh from the cache store, in one round
    /// trip.
    pub async fn prefetch(&self, reads: &[(&'static ReadPolicy, Key)]) {
        let Some(store) = &self.cache_store else { return };
        let now = self.clock.now();
        let cached = |(policy, _): &&(&'static ReadPolicy, Key)| self.is_cached(policy);
        let wanted: Vec<_> = reads
            .iter()
            .filter(cached)
            .filter(|(policy, key)| !self.is_fresh(policy, key, now))
            .collect();
        if wanted.is_empty() {
            return;
        }
        for (read, found) in wanted
            .iter()
            .zip(store.get(&wanted, time_limit(Safeguard::Deadlines, TIER_ANSWERS_WITHIN)).await)
        {
            let (policy, key) = (read.0, &read.1);
            for (property, at) in found.invalidations {
                self.invalidations.record(key.tenant, property, policy.upstream, at);
            }
            if let Some(snapshot) = found.snapshot {
                self.remember_zone(key.tenant, &snapshot);
                self.local.put_newer(key, snapshot, policy);
            }
        }
    }

    /// Reads a snapshot, by `context.deadline` at the latest. `fetch` calls the upstream; the call
    /// is dropped when no reader waits for it any more.
    pub async fn read(
        &self,
        policy: &'static ReadPolicy,
        key: &Key,
        context: &CallContext,
        fetch: impl Fn(CallContext) -> FetchFuture + Send + Sync,
    ) -> Result<Reading, ReadError> {
        let (began, now) = (Instant::now(), self.clock.now());
        let read = Read { policy, key, context, fetch: &fetch };
        let held = self.held(policy, key, now);
        let changed_at = self.changed_at(policy, key, now);
        let is_fresh = |(snapshot, age): &&(Arc<Snapshot>, Duration)| {
            *age < policy.fresh && snapshot.requested_at > changed_at
        };
        if let Some((snapshot, age)) = held.as_ref().filter(is_fresh) {
            self.meters.count(policy.name, |meters| &meters.hit);
            let reading = Reading::of(snapshot, Source::Hit { age: *age }, began);
            if needs_refresh_ahead(policy, *age) {
                self.refresh_ahead(read);
            }
            return Ok(reading);
        }
        self.meters.count(policy.name, |meters| &meters.miss);
        let held = held.filter(|_| !policy.stale.is_zero());
        let first = self.join_or_start(read);
        let call = first.call.clone();
        // Data known to have changed is worth the full wait.
        let wait_until = match &held {
            Some((snapshot, _)) if snapshot.requested_at > changed_at => {
                context.deadline.min(began + MAX_WAIT_WITH_STALE)
            }
            _ => context.deadline + DEADLINE_GRACE,
        };
        let answer = self.shared_outcome(read, first);
        let outcome = timeout_at(wait_until, answer).await.unwrap_or_else(|_| {
            if held.is_some() {
                self.tasks.spawn(call.map(drop));
            }
            Err(Arc::new(CallError::Timeout))
        });
        self.resolve(policy, held, outcome, began)
    }

    /// The snapshot that may still be shown, with its age.
    fn held(
        &self,
        policy: &ReadPolicy,
        key: &Key,
        now: Timestamp,
    ) -> Option<(Arc<Snapshot>, Duration)> {
        if !self.is_cached(policy) {
            return None;
        }
        let snapshot = self.local.get(key)?;
        let age = snapshot.age(now);
        let is_of_this_day = snapshot.requested_at >= self.day_began(key, now);
        (is_of_this_day && age < policy.fresh + policy.stale).then_some((snapshot, age))
    }

    /// When the property's day began, for a response that expires with it.
    fn day_began(&self, key: &Key, now: Timestamp) -> Timestamp {
        let property = key.property.filter(|_| key.ends_with_day);
        property
            .map_or(Timestamp::MIN, |property| self.time_zones.day_began(key.tenant, property, now))
    }

    /// Snapshots requested before this instant are not fresh: the upstream's data has changed
    /// since, or a new day has begun at the property.
    fn changed_at(&self, policy: &ReadPolicy, key: &Key, now: Timestamp) -> Timestamp {
        // A request at the very start of the day belongs to that day.
        let before_this_day = self.day_began(key, now).saturating_sub(Span::new().nanoseconds(1));
        let changed_at = self.invalidations.last_for(key, policy.upstream);
        before_this_day.map_or(changed_at, |yesterday| yesterday.max(changed_at))
    }

    fn is_fresh(&self, policy: &ReadPolicy, key: &Key, now: Timestamp) -> bool {
        let changed_at = self.changed_at(policy, key, now);
        self.local.get(key).is_some_and(|snapshot| {
            snapshot.age(now) < policy.fresh && snapshot.requested_at > changed_at
        })
    }

    fn resolve(
        &self,
        policy: &ReadPolicy,
        held: Option<(Arc<Snapshot>, Duration)>,
        outcome: CallOutcome,
        began: Instant,
    ) -> Result<Reading, ReadError> {
        let source = if self.is_cached(policy) { Source::Miss } else { Source::Bypass };
        match (outcome, held) {
            (Ok(snapshot), _) => Ok(Reading::of(&snapshot, source, began)),
            (Err(error), Some((snapshot, age)))
                if error.is_outage() && safeguard!(StaleSnapshots) =>
            {
                self.meters.count(policy.name, |meters| &meters.stale);
                let source = Source::Stale { age, reason: error.reason() };
                Ok(Reading::of(&snapshot, source, began))
            }
            (Err(error), _) => Err(error),
        }
    }

    fn remember_zone(&self, tenant: TenantId, snapshot: &Snapshot) {
        if let Some(name) = &snapshot.time_zone {
            self.time_zones.remember(tenant, snapshot.property, name);
        }
    }

    /// The time zone of a property, once a response has stated it.
    pub fn zone(&self, tenant: TenantId, property: PropertyId) -> Option<TimeZone> {
        self.time_zones.get(tenant, property)
    }

    fn keep(&self, policy: &'static ReadPolicy, key: &Key, snapshot: &Arc<Snapshot>) {
        if !self.is_cached(policy) {
            return;
        }
        self.local.put(key, Arc::clone(snapshot), policy);
        if let Some(store) = &self.cache_store {
            store.put(policy, key, snapshot);
        }
    }

    /// Makes the upstream's snapshots of a property (or of the whole tenant) stale, in all
    /// instances.
    pub fn invalidate(&self, tenant: TenantId, property: Option<PropertyId>, upstream: Upstream) {
        let now = self.clock.now();
        self.invalidations.record(tenant, property, Some(upstream), now);
        if let Some(store) = &self.cache_store {
            store.publish_invalidation(tenant, property, upstream, now);
        }
    }

    /// Applies invalidations of other instances until the connection ends. Makes all snapshots
    /// stale first, because messages may have been missed.
    pub async fn follow(&self, listener: &redis::Client) -> redis::RedisResult<()> {
        let clock = &self.clock;
        cache_store::subscribe(
            listener,
            || self.invalidations.record_all(clock.now()),
            |change| {
                self.invalidations.record(
                    change.tenant,
                    change.property,
                    Some(change.upstream),
                    clock.now(),
                );
            },
        )
        .await
    }
}

/// Whether the snapshot is in the last fifth of its freshness.
fn needs_refresh_ahead(policy: &ReadPolicy, age: Duration) -> bool {
    age * 5 > policy.fresh * 4
}
