//! Follows revocations: a notification says that there is one, Postgres which.

use std::sync::Arc;

use contracts::clock::Clock;
use metrics::{counter, gauge, histogram};
use redis::aio::ConnectionManager;
use service_kit::background::{BackgroundTask, TaskDriver};
use service_kit::postgres::{Database, StoreError, read_again, write};
use service_kit::problem::chain;
use tokio::sync::Mutex;

use super::Revocations;
use super::store::{self, NewRevocation};
use crate::background::change_notifier::{ChangeNotifier, Position};
use crate::sessions::revocation::purge;

/// Redis channel.
const CHANNEL: &str = "bff:revocations";

/// The live revocations, kept up to date.
#[derive(Clone, derive_more::Debug)]
#[debug("Feed {{ live: {:?}, .. }}", self.0.live)]
pub struct Feed(Arc<Inner>);

struct Inner {
    live: Revocations,
    /// A separate pool, so that requests never delay it.
    database: Database,
    notifier: ChangeNotifier,
    redis: ConnectionManager,
    clock: Clock,
    /// Sequence of the last row that was read; `None` until the rows were read first.
    last: Mutex<Option<i64>>,
}

impl Feed {
    /// `database` should be a pool that requests do not use.
    pub fn new(database: Database, redis: ConnectionManager, clock: Clock) -> Self {
        let (live, notifier) =
            (Revocations::default(), ChangeNotifier::new(CHANNEL, redis.clone()));
        Self(Arc::new(Inner { live, database, notifier, redis, clock, last: Mutex::new(None) }))
    }

    pub fn live(&self) -> &Revocations {
        &self.0.live
    }

    /// Follows changes until shutdown.
    pub fn follow(&self, listener: redis::Client, driver: &TaskDriver) {
        self.0.notifier.start("follow-revocations", self.clone(), listener, driver);
    }

    /// Applies new rows. Serialised by the mutex, so a queued caller usually finds nothing to
    /// apply. The lock is held for two statements' time limits at most, a little over two seconds.
    pub async fn poll(&self) -> Result<Position, StoreError> {
        let mut last = self.0.last.lock().await;
        let now = self.0.clock.now();
        let sequence = last.unwrap_or_default();
        let read = read_again(|| store::after(&self.0.database, sequence, now)).await;
        let (news, reached) = read.inspect_err(|_| {
            counter!("bff_backoffice_revocation_read_failed_total").increment(1);
        })?;
        for one in &news {
            tracing::info!(tenant = %one.tenant, kind = one.target.kind(), reason = %one.reason, "A revocation was applied.");
        }
        // Those of before the start are late for another reason.
        if last.is_some() {
            let applied_at = self.0.clock.now();
            for one in &news {
                let delay = applied_at.duration_since(one.recorded_at);
                histogram!("bff_backoffice_revocation_delay_seconds").record(delay.as_secs_f64());
            }
        }
        *last = Some(reached);
        self.0.live.apply(news, now);
        gauge!("bff_backoffice_revocations_live").set(self.0.live.len() as f64);
        Ok(Position { sequence: reached })
    }

    /// Stores the revocation, then notifies every instance. Returns false if its cause is known.
    pub async fn revoke(
        &self,
        database: &Database,
        revocation: &NewRevocation,
    ) -> Result<bool, StoreError> {
        let mut connection = database.connection().await?;
        let transaction = write(&mut connection, revocation.tenant).await?;
        let is_new = store::insert(&transaction, revocation, self.0.clock.now()).await?;
        transaction.commit().await?;
        self.publish(revocation).await;
        Ok(is_new)
    }

    /// Notifies every instance and purges the sessions. Call it after the commit.
    pub async fn publish(&self, revocation: &NewRevocation) {
        if let Err(error) = self.poll().await {
            tracing::warn!(error = %chain(&error), "Failed to apply a revocation here; the next poll does.");
        }
        self.0.notifier.notify().await;
        purge::purge(
            self.0.redis.clone(),
            revocation.tenant,
            revocation.target,
            revocation.revoked_at,
        )
        .await;
    }
}

impl BackgroundTask for Feed {
    type Status = Position;
    type Error = StoreError;

    async fn activate(&mut self) -> Result<Position, StoreError> {
        self.poll().await
    }
}
