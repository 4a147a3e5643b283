//! What upstreams answered, kept for as long as it may be shown.
//!
//! Two levels: this process, and the cache tier that all instances share. A read takes what is
//! fresh; else it asks the upstream, together with everybody else who asks the same now; else it
//! shows what it still has, with its age. Every key begins with the tenant, in its type.
//!
//! Not here: what is read and how an answer becomes a snapshot; both come with the read.

mod flights;
mod key;
mod local;
mod marks;
mod meters;
mod shared;
mod sharing;
mod snapshot;
#[cfg(test)]
mod tests;
mod zones;

use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use contracts::clock::Clock;
use contracts::dashboard::Reason;
use contracts::id::{PropertyId, TenantId};
use contracts::safeguard;
use contracts::safeguard::{Safeguard, time_limit};
use contracts::upstream::Upstream;
use futures_util::FutureExt;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;
use upstream_clients::{CallContext, CallError};

use flights::{Flights, Outcome};
pub use key::Key;
use local::Local;
use marks::Marks;
pub use meters::CacheCounts;
use meters::Meters;
pub use shared::SharedTier;
pub use snapshot::{Fetched, Snapshot};
use zones::Zones;

/// Who holds something to show does not wait longer than this for something newer.
const PATIENCE: Duration = Duration::from_millis(100);
/// With less time than this nobody is asked again.
const WORTH_ASKING: Duration = Duration::from_millis(50);
/// A call ends itself at its deadline; this much later it is dropped whatever it does.
const GUARD: Duration = Duration::from_millis(10);
/// A cache tier that is there answers sooner.
const TIER_ANSWERS_WITHIN: Duration = Duration::from_millis(25);

/// One thing that is read, and how long its answer holds (gateway-api section 6).
#[derive(Debug)]
pub struct Rule {
    /// Unique; part of the key and a label of the metrics.
    pub name: &'static str,
    /// None for what the gateway itself holds.
    pub upstream: Option<Upstream>,
    /// Longest wait for the upstream, after the request was let in.
    pub deadline: Duration,
    /// Shown as it is for so long. Zero: never kept.
    pub fresh: Duration,
    /// Past that, shown for so long with its age when nothing newer is to be had.
    pub stale: Duration,
    /// Whether the answer is about "today": then it is neither fresh nor stale any more when the
    /// property's day ends.
    pub is_of_today: bool,
}

/// What a read found.
#[derive(Debug, Clone)]
pub struct Reading {
    pub snapshot: Arc<Snapshot>,
    pub source: Source,
    /// How long this read waited.
    pub took: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Kept, and fresh.
    Hit { age: Duration },
    /// The upstream's answer of now.
    Miss,
    /// The upstream's answer of now, of which nothing is kept.
    Bypass,
    /// Kept, and past its freshness; the reason says why there is nothing newer.
    Stale { age: Duration, reason: Reason },
}

/// Shared by those who asked together.
pub type ReadError = Arc<CallError>;

/// Cheap to clone: each question under way holds one.
#[derive(Debug, Clone)]
pub struct Snapshots(Arc<Parts>);

#[derive(Debug, Clone)]
pub struct Parts {
    local: Local,
    shared: Option<SharedTier>,
    flights: Flights,
    marks: Marks,
    zones: Zones,
    meters: Meters,
    clock: Clock,
    tasks: TaskTracker,
    keeps: bool,
}

impl Deref for Snapshots {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl Snapshots {
    /// `tasks` runs what outlives the read that began it. Without a cache tier each process keeps
    /// its own.
    pub fn new(clock: Clock, tasks: TaskTracker, shared: Option<SharedTier>) -> Self {
        Self(Arc::new(Parts {
            local: Local::new(),
            shared,
            flights: Flights::default(),
            marks: Marks::new(),
            zones: Zones::new(),
            meters: Meters::default(),
            clock,
            tasks,
            keeps: true,
        }))
    }

    /// Nothing is kept: every read asks its upstream, together with who asks the same now.
    #[must_use]
    pub fn keeping_nothing(mut self) -> Self {
        Arc::make_mut(&mut self.0).keeps = false;
        self
    }

    /// Runs what outlives whoever began it.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Whether answers of this rule are kept.
    fn keeps(&self, rule: &Rule) -> bool {
        self.keeps && !rule.fresh.is_zero()
    }

    /// How reads of this rule ended.
    pub fn counts(&self, rule: &Rule) -> CacheCounts {
        self.meters.counts(rule.name)
    }

    /// Takes over from the cache tier what this process does not hold fresh, in one round trip.
    pub async fn warm(&self, reads: &[(&'static Rule, Key)]) {
        let Some(tier) = &self.shared else { return };
        let now = self.clock.now();
        let kept = |(rule, _): &&(&'static Rule, Key)| self.keeps(rule);
        let wanted: Vec<_> = reads
            .iter()
            .filter(kept)
            .filter(|(rule, key)| !self.is_fresh(rule, key, now))
            .collect();
        if wanted.is_empty() {
            return;
        }
        let limit = time_limit(Safeguard::Deadlines, TIER_ANSWERS_WITHIN);
        for (read, found) in wanted.iter().zip(tier.get(&wanted, limit).await) {
            let (rule, key) = (read.0, &read.1);
            for (property, at) in found.changes {
                self.marks.set_at(key.tenant, property, rule.upstream, at);
            }
            if let Some(snapshot) = found.snapshot {
                self.learn_zone(key.tenant, &snapshot);
                self.local.put_newer(key, snapshot, rule);
            }
        }
    }

    /// The answer of a read, by `context.deadline` at the latest. `fetch` asks the upstream; it is
    /// dropped when nobody waits for it any more.
    pub async fn read<F, A>(
        &self,
        rule: &'static Rule,
        key: &Key,
        context: &CallContext,
        fetch: F,
    ) -> Result<Reading, ReadError>
    where
        F: Fn(CallContext) -> A + Send + Sync + 'static,
        A: Future<Output = Result<Fetched, CallError>> + Send + 'static,
    {
        let (began, now) = (Instant::now(), self.clock.now());
        let held = self.held(rule, key, now);
        let changed_at = self.changed_at(rule, key, now);
        let is_fresh =
            |(it, age): &&(Arc<Snapshot>, Duration)| *age < rule.fresh && it.asked_at > changed_at;
        if let Some((snapshot, age)) = held.as_ref().filter(is_fresh) {
            self.meters.hit(rule.name);
            let reading = reading(snapshot, Source::Hit { age: *age }, began);
            if is_soon_old(rule, *age) {
                self.ask_ahead(rule, key, context, fetch);
            }
            return Ok(reading);
        }
        self.meters.miss(rule.name);
        let held = held.filter(|_| !rule.stale.is_zero());
        let first = self.first(rule, key, context, &fetch);
        let flight = first.flight.clone();
        // What is known to have changed is worth waiting for.
        let patience = match &held {
            Some((it, _)) if it.asked_at > changed_at => context.deadline.min(began + PATIENCE),
            _ => context.deadline + GUARD,
        };
        let answer = self.shared_outcome(rule, key, context, first, &fetch);
        let outcome = timeout_at(patience, answer).await.unwrap_or_else(|_| {
            if held.is_some() {
                self.tasks.spawn(flight.map(drop));
            }
            Err(Arc::new(CallError::Timeout))
        });
        self.settle(rule, held, outcome, began)
    }

    /// What was kept and may still be shown, with its age.
    fn held(&self, rule: &Rule, key: &Key, now: Timestamp) -> Option<(Arc<Snapshot>, Duration)> {
        if !self.keeps(rule) {
            return None;
        }
        let snapshot = self.local.get(key)?;
        let age = snapshot.age(now);
        let is_of_this_day = snapshot.asked_at >= self.day_began(key, now);
        (is_of_this_day && age < rule.fresh + rule.stale).then_some((snapshot, age))
    }

    /// When the property's day began, for an answer that ends with it.
    fn day_began(&self, key: &Key, now: Timestamp) -> Timestamp {
        let property = key.property.filter(|_| key.ends_with_day);
        property.map_or(Timestamp::MIN, |property| self.zones.day_began(key.tenant, property, now))
    }

    /// What was asked before this instant is not the answer to a question of now: the upstream is
    /// known to have changed, or a new day has begun at the property.
    fn changed_at(&self, rule: &Rule, key: &Key, now: Timestamp) -> Timestamp {
        // A question of the very instant at which the day begins is one of that day.
        let before_this_day = self.day_began(key, now).saturating_sub(Span::new().nanoseconds(1));
        let changed_at = self.marks.of(key, rule.upstream);
        before_this_day.map_or(changed_at, |yesterday| yesterday.max(changed_at))
    }

    fn is_fresh(&self, rule: &Rule, key: &Key, now: Timestamp) -> bool {
        let changed_at = self.changed_at(rule, key, now);
        self.local.get(key).is_some_and(|it| it.age(now) < rule.fresh && it.asked_at > changed_at)
    }

    fn settle(
        &self,
        rule: &Rule,
        held: Option<(Arc<Snapshot>, Duration)>,
        outcome: Outcome,
        began: Instant,
    ) -> Result<Reading, ReadError> {
        let source = if self.keeps(rule) { Source::Miss } else { Source::Bypass };
        match (outcome, held) {
            (Ok(snapshot), _) => Ok(reading(&snapshot, source, began)),
            (Err(error), Some((snapshot, age)))
                if error.is_illness() && safeguard!(StaleSnapshots) =>
            {
                self.meters.stale(rule.name);
                let source = Source::Stale { age, reason: error.reason() };
                Ok(reading(&snapshot, source, began))
            }
            (Err(error), _) => Err(error),
        }
    }

    fn learn_zone(&self, tenant: TenantId, snapshot: &Snapshot) {
        if let Some(name) = &snapshot.time_zone {
            self.zones.learn(tenant, snapshot.property, name);
        }
    }

    /// The time zone of a property, when an answer has stated it.
    pub fn zone(&self, tenant: TenantId, property: PropertyId) -> Option<TimeZone> {
        self.zones.get(tenant, property)
    }

    fn keep(&self, rule: &'static Rule, key: &Key, snapshot: &Arc<Snapshot>) {
        if !self.keeps(rule) {
            return;
        }
        self.local.put(key, Arc::clone(snapshot), rule);
        if let Some(tier) = &self.shared {
            tier.put(rule, key, snapshot);
        }
    }

    /// What came from this upstream before now is not fresh any more: of one property, or without
    /// one of the whole tenant. It may still be shown as stale.
    pub fn outdate(&self, tenant: TenantId, property: Option<PropertyId>, upstream: Upstream) {
        let now = self.clock.now();
        self.marks.set_at(tenant, property, Some(upstream), now);
        if let Some(tier) = &self.shared {
            tier.tell(tenant, property, upstream, now);
        }
    }

    /// Hears, until the connection ends, what other instances know to have changed. Whatever was
    /// kept before is not trusted to be fresh, because news may have been missed.
    pub async fn follow(&self, listener: &redis::Client) -> redis::RedisResult<()> {
        let clock = &self.clock;
        shared::listen(
            listener,
            || self.marks.set_all(clock.now()),
            |news| {
                self.marks.set_at(news.tenant, news.property, Some(news.upstream), clock.now());
            },
        )
        .await
    }
}

fn reading(snapshot: &Arc<Snapshot>, source: Source, began: Instant) -> Reading {
    Reading { snapshot: Arc::clone(snapshot), source, took: began.elapsed() }
}

/// In the last fifth of its freshness.
fn is_soon_old(rule: &Rule, age: Duration) -> bool {
    age * 5 > rule.fresh * 4
}
