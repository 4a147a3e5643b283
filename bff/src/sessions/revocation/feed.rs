//! How an instance hears of revocations: a bell says that there is one, Postgres says which.

use std::sync::Arc;

use contracts::clock::Clock;
use metrics::{counter, gauge};
use redis::aio::ConnectionManager;
use service_kit::lifecycle::Lifecycle;
use service_kit::postgres::{Database, StoreError, read_again, write};
use service_kit::problem::chain;
use tokio::sync::Mutex;

use super::Revocations;
use super::store::{self, Order};
use crate::background::change_notifier::Bell;
use crate::sessions::revocation::purge;

/// Its name in the session tier.
const BELL: &str = "bff:revocations";

/// The live revocations and the way to more.
#[derive(Clone)]
pub struct Feed(Arc<Inner>);

struct Inner {
    live: Revocations,
    /// A pool of its own: requests never crowd it out.
    database: Database,
    bell: Bell,
    tier: ConnectionManager,
    clock: Clock,
    /// Sequence of the last row that was read.
    last: Mutex<i64>,
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed").field("live", &self.0.live).finish_non_exhaustive()
    }
}

impl Feed {
    /// `database` should be a pool of its own, of one connection.
    pub fn new(database: Database, tier: ConnectionManager, clock: Clock) -> Self {
        let (live, bell) = (Revocations::default(), Bell::new(BELL, tier.clone()));
        Self(Arc::new(Inner { live, database, bell, tier, clock, last: Mutex::new(0) }))
    }

    pub fn live(&self) -> &Revocations {
        &self.0.live
    }

    /// Follows until the program stops.
    pub fn follow(&self, listener: redis::Client, lifecycle: &Lifecycle) {
        let feed = self.clone();
        self.0.bell.follow(listener, lifecycle, move || {
            let feed = feed.clone();
            async move { feed.catch_up_or_say_so().await }
        });
    }

    async fn catch_up_or_say_so(&self) {
        if let Err(error) = self.catch_up().await {
            counter!("bff_backoffice_revocation_read_failed_total").increment(1);
            tracing::warn!(error = %chain(&error), "Revocations were not read; those known stay in force.");
        }
    }

    /// Reads what is new. One at a time; who waited finds little to do. The lock is held for two
    /// statements' time limits at most, a little over two seconds.
    pub async fn catch_up(&self) -> Result<(), StoreError> {
        let mut last = self.0.last.lock().await;
        let now = self.0.clock.now();
        let sequence = *last;
        let (news, reached) = read_again(|| store::after(&self.0.database, sequence, now)).await?;
        for one in &news {
            tracing::info!(tenant = %one.tenant, kind = one.target.kind(), reason = %one.reason, "A revocation is in force.");
        }
        *last = reached;
        self.0.live.learn(news, now);
        gauge!("bff_backoffice_revocations_live").set(self.0.live.len() as f64);
        Ok(())
    }

    /// Writes the order down, then tells every instance. False when its cause was told before.
    pub async fn revoke(&self, database: &Database, order: &Order) -> Result<bool, StoreError> {
        let mut connection = database.connection().await?;
        let transaction = write(&mut connection, order.tenant).await?;
        let is_new = store::insert(&transaction, order, self.0.clock.now()).await?;
        transaction.commit().await?;
        self.carry_out(order).await;
        Ok(is_new)
    }

    /// After the commit: every instance is told, and the sessions are taken out of the tier.
    pub async fn carry_out(&self, order: &Order) {
        self.catch_up_or_say_so().await;
        self.0.bell.ring().await;
        purge::end(self.0.tier.clone(), order.tenant, order.target, order.revoked_at).await;
    }
}
