//! Which tenants may work: tenant-service says so in events, kept in Postgres and followed by
//! every instance, and in each operator's profile. Of a tenant's statements the latest holds.
//!
//! Not here: the refusal (`edge`) and what becomes of streams (`handlers::stream`).

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use contracts::id::TenantId;
use jiff::Timestamp;
use metrics::{counter, gauge};
use redis::aio::ConnectionManager;
use service_kit::lifecycle::Lifecycle;
use service_kit::postgres::{Database, StoreError, read_again};
use service_kit::problem::chain;
use tokio::sync::{Mutex, watch};

use crate::background::change_notifier::Bell;

pub mod store;

/// Its name in the session tier.
const BELL: &str = "bff:tenant-standings";
/// How far the platform's clocks may be ahead of ours.
const SKEW: Duration = Duration::from_secs(60);

/// What tenant-service said of a tenant, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statement {
    pub tenant: TenantId,
    pub suspended: bool,
    pub stated_at: Timestamp,
}

/// Every tenant's standing, as this instance knows it.
#[derive(Clone)]
pub struct Standings(Arc<Inner>);

struct Inner {
    latest: RwLock<HashMap<TenantId, Statement>>,
    changes: watch::Sender<u64>,
    /// A pool of its own: requests never crowd it out.
    database: Database,
    bell: Bell,
    /// Sequence of the last row that was read.
    last: Mutex<i64>,
}

impl std::fmt::Debug for Standings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Standings").field("latest", &self.0.latest).finish_non_exhaustive()
    }
}

impl Standings {
    /// `database` should be a pool of its own, of one connection.
    pub fn new(database: Database, tier: ConnectionManager) -> Self {
        Self(Arc::new(Inner {
            latest: RwLock::default(),
            changes: watch::Sender::new(0),
            database,
            bell: Bell::new(BELL, tier),
            last: Mutex::new(0),
        }))
    }

    /// Whether the tenant is suspended; one that nothing was said of is not.
    pub fn is_suspended(&self, tenant: TenantId) -> bool {
        let latest = self.0.latest.read().unwrap_or_else(PoisonError::into_inner);
        latest.get(&tenant).is_some_and(|statement| statement.suspended)
    }

    /// Resolves after each change; streams look again then.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Takes a statement in, unless a later one is known. Of one instant, the suspension holds.
    pub fn learn(&self, statement: Statement) {
        if self.knows_as_much_as(&statement) {
            return;
        }
        let mut latest = self.0.latest.write().unwrap_or_else(PoisonError::into_inner);
        let known = latest.get(&statement.tenant);
        if known.is_some_and(|known| !is_later(&statement, known)) {
            return;
        }
        let changed = known.is_some_and(|known| known.suspended) != statement.suspended;
        latest.insert(statement.tenant, statement);
        let suspended = latest.values().filter(|statement| statement.suspended).count();
        drop(latest);
        if changed {
            tracing::info!(tenant = %statement.tenant, suspended = statement.suspended, "A tenant's standing changed.");
            gauge!("bff_backoffice_tenants_suspended").set(suspended as f64);
            self.0.changes.send_modify(|version| *version += 1);
        }
    }

    /// The usual case, without taking the lock for writing.
    fn knows_as_much_as(&self, statement: &Statement) -> bool {
        let latest = self.0.latest.read().unwrap_or_else(PoisonError::into_inner);
        latest.get(&statement.tenant).is_some_and(|known| !is_later(statement, known))
    }

    /// Follows until the program stops.
    pub fn follow(&self, listener: redis::Client, lifecycle: &Lifecycle) {
        let standings = self.clone();
        self.0.bell.follow(listener, lifecycle, move || {
            let standings = standings.clone();
            async move { standings.catch_up_or_say_so().await }
        });
    }

    async fn catch_up_or_say_so(&self) {
        if let Err(error) = self.catch_up().await {
            counter!("bff_backoffice_tenant_standing_read_failed_total").increment(1);
            tracing::warn!(error = %chain(&error), "Tenants' standings were not read; those known hold.");
        }
    }

    /// Reads what is new. One at a time; who waited finds little to do.
    pub async fn catch_up(&self) -> Result<(), StoreError> {
        let mut last = self.0.last.lock().await;
        let sequence = *last;
        let (news, reached) = read_again(|| store::after(&self.0.database, sequence)).await?;
        *last = reached;
        for statement in news {
            self.learn(statement);
        }
        Ok(())
    }

    /// After the commit.
    pub async fn announce(&self) {
        self.catch_up_or_say_so().await;
        self.0.bell.ring().await;
    }
}

/// Another's clock is believed up to a minute ahead of ours: a statement of the far future would
/// hold for ever.
pub fn not_ahead(stated_at: Timestamp, now: Timestamp) -> Timestamp {
    stated_at.min(now + SKEW)
}

fn is_later(statement: &Statement, known: &Statement) -> bool {
    (statement.stated_at, statement.suspended) > (known.stated_at, known.suspended)
}
