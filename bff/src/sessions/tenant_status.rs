//! Which tenants are suspended. tenant-service reports it in events, which are stored in Postgres
//! and followed by every instance, and in each operator's profile. The latest report counts.
//!
//! Not here: the refusal (`edge`) and the end of streams (`handlers::public::stream`).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use contracts::id::TenantId;
use jiff::Timestamp;
use metrics::{counter, gauge};
use parking_lot::RwLock;
use redis::aio::ConnectionManager;
use service_kit::background::{BackgroundTask, TaskDriver};
use service_kit::postgres::{Database, StoreError, read_again};
use service_kit::problem::chain;
use tokio::sync::{Mutex, watch};

use crate::background::change_notifier::{ChangeNotifier, Position};

pub(crate) mod store;

/// Redis channel.
const CHANNEL: &str = "bff:tenant-standings";
/// How far the platform's clocks may be ahead of this one.
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(60);

/// Status of a tenant, and when tenant-service reported it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TenantStatus {
    pub tenant: TenantId,
    pub suspended: bool,
    pub stated_at: Timestamp,
}

/// Status of every tenant known to this instance.
#[derive(Clone, derive_more::Debug)]
#[debug("TenantStatuses {{ latest: {:?}, .. }}", self.0.latest)]
pub struct TenantStatuses(Arc<Inner>);

struct Inner {
    latest: RwLock<HashMap<TenantId, TenantStatus>>,
    changes: watch::Sender<u64>,
    /// A separate pool, so that requests never delay it.
    database: Database,
    notifier: ChangeNotifier,
    /// Sequence of the last row that was read.
    last: Mutex<i64>,
}

impl TenantStatuses {
    /// `database` should be a pool that requests do not use.
    pub fn new(database: Database, redis: ConnectionManager) -> Self {
        Self(Arc::new(Inner {
            latest: RwLock::default(),
            changes: watch::Sender::new(0),
            database,
            notifier: ChangeNotifier::new(CHANNEL, redis),
            last: Mutex::new(0),
        }))
    }

    /// Whether the tenant is suspended; an unknown tenant is not.
    pub fn is_suspended(&self, tenant: TenantId) -> bool {
        let latest = self.0.latest.read();
        latest.get(&tenant).is_some_and(|status| status.suspended)
    }

    /// Resolves after each change; streams then check again.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Applies a status unless a later one is known. At the same instant, suspension wins.
    pub fn apply(&self, status: TenantStatus) {
        if self.is_known(&status) {
            return;
        }
        let mut latest = self.0.latest.write();
        let current = latest.get(&status.tenant);
        if current.is_some_and(|current| !is_later(&status, current)) {
            return;
        }
        let changed = current.is_some_and(|current| current.suspended) != status.suspended;
        latest.insert(status.tenant, status);
        let suspended = latest.values().filter(|status| status.suspended).count();
        drop(latest);
        if changed {
            tracing::info!(tenant = %status.tenant, suspended = status.suspended, "A tenant's status changed.");
            gauge!("bff_backoffice_tenants_suspended").set(suspended as f64);
            self.0.changes.send_modify(|version| *version += 1);
        }
    }

    /// Covers the usual case without the write lock.
    fn is_known(&self, status: &TenantStatus) -> bool {
        let latest = self.0.latest.read();
        latest.get(&status.tenant).is_some_and(|current| !is_later(status, current))
    }

    /// Follows changes until shutdown.
    pub fn follow(&self, listener: redis::Client, driver: &TaskDriver) {
        self.0.notifier.start("follow-tenant-statuses", self.clone(), listener, driver);
    }

    /// Applies new rows. Serialised by the mutex, so a queued caller usually finds nothing to
    /// apply.
    pub async fn poll(&self) -> Result<Position, StoreError> {
        let mut last = self.0.last.lock().await;
        let sequence = *last;
        let read = read_again(|| store::after(&self.0.database, sequence)).await;
        let (news, reached) = read.inspect_err(|_| {
            counter!("bff_backoffice_tenant_standing_read_failed_total").increment(1);
        })?;
        *last = reached;
        for status in news {
            self.apply(status);
        }
        Ok(Position { sequence: reached })
    }

    /// Applies the change here and notifies other instances. Call it after the commit.
    pub async fn announce(&self) {
        if let Err(error) = self.poll().await {
            tracing::warn!(error = %chain(&error), "Failed to apply a tenant's status here; the next poll does.");
        }
        self.0.notifier.notify().await;
    }
}

impl BackgroundTask for TenantStatuses {
    type Status = Position;
    type Error = StoreError;

    async fn activate(&mut self) -> Result<Position, StoreError> {
        self.poll().await
    }
}

/// Limits a report's instant to [`MAX_CLOCK_SKEW`] ahead; one of the far future would win for ever.
pub(crate) fn limit_clock_skew(stated_at: Timestamp, now: Timestamp) -> Timestamp {
    stated_at.min(now + MAX_CLOCK_SKEW)
}

fn is_later(status: &TenantStatus, current: &TenantStatus) -> bool {
    (status.stated_at, status.suspended) > (current.stated_at, current.suspended)
}
