//! How an instance hears of revocations: the session tier says that there is one, Postgres says
//! which. Asked every two seconds as well, so that nothing depends on the session tier.

use std::sync::Arc;
use std::time::Duration;

use contracts::clock::Clock;
use futures_util::StreamExt;
use metrics::{counter, gauge};
use redis::aio::ConnectionManager;
use service_kit::lifecycle::Lifecycle;
use service_kit::postgres::{Database, StoreError, write};
use service_kit::problem::chain;
use tokio::sync::Mutex;
use tokio::time::{MissedTickBehavior, interval};

use super::Revocations;
use super::store::{self, Order};

/// With the statement's own limits this keeps to the contract's 5 s.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// The bell: an empty message, rung after a commit.
const BELL: &str = "bff:revocations";

/// The live revocations and the way to more.
#[derive(Clone)]
pub struct Feed(Arc<Inner>);

struct Inner {
    live: Revocations,
    /// A pool of its own: requests never crowd it out.
    database: Database,
    bell: ConnectionManager,
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
    pub fn new(database: Database, bell: ConnectionManager, clock: Clock) -> Self {
        let live = Revocations::default();
        Self(Arc::new(Inner { live, database, bell, clock, last: Mutex::new(0) }))
    }

    pub fn live(&self) -> &Revocations {
        &self.0.live
    }

    /// Follows until the program stops.
    pub fn follow(&self, bell: redis::Client, lifecycle: &Lifecycle) {
        let (asking, listening) = (self.clone(), self.clone());
        lifecycle.spawn_until_stop(async move { asking.keep_asking().await });
        lifecycle.spawn_until_stop(async move { listening.keep_listening(&bell).await });
    }

    async fn keep_asking(&self) {
        let mut tick = interval(ASK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.catch_up_or_say_so().await;
        }
    }

    async fn keep_listening(&self, bell: &redis::Client) {
        let mut tick = interval(ASK_EVERY / 2);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            if let Err(error) = self.listen(bell).await {
                tracing::debug!(%error, "The session tier does not tell of revocations; Postgres is asked.");
            }
        }
    }

    /// Returns when the connection ends.
    async fn listen(&self, bell: &redis::Client) -> redis::RedisResult<()> {
        let mut connection = bell.get_async_pubsub().await?;
        connection.subscribe(BELL).await?;
        let mut rings = connection.into_on_message();
        while rings.next().await.is_some() {
            self.catch_up_or_say_so().await;
        }
        Ok(())
    }

    async fn catch_up_or_say_so(&self) {
        if let Err(error) = self.catch_up().await {
            counter!("bff_backoffice_revocation_read_failed_total").increment(1);
            tracing::warn!(error = %chain(&error), "Revocations were not read; those known stay in force.");
        }
    }

    /// Reads what is new. One at a time; who waited finds little to do.
    pub async fn catch_up(&self) -> Result<(), StoreError> {
        let mut last = self.0.last.lock().await;
        let now = self.0.clock.now();
        let (news, reached) = store::after(&self.0.database, *last, now).await?;
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
        self.announce().await;
        Ok(is_new)
    }

    /// After the commit. A bell that does not ring only costs time.
    pub async fn announce(&self) {
        self.catch_up_or_say_so().await;
        let mut bell = self.0.bell.clone();
        if let Err(error) =
            redis::cmd("PUBLISH").arg(BELL).arg("").query_async::<i64>(&mut bell).await
        {
            tracing::warn!(%error, "Other instances hear of a revocation only when they ask.");
        }
    }
}
