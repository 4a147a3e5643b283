//! Notifies other instances of new rows in Postgres through Redis pub/sub. Subscribers also poll
//! Postgres every [`POLL_INTERVAL`], so that nothing depends on Redis.

use std::future::Future;
use std::time::Duration;

use futures_util::StreamExt;
use redis::aio::ConnectionManager;
use service_kit::lifecycle::Lifecycle;
use tokio::time::{MissedTickBehavior, interval};

/// Together with the statement timeout this stays within the contract's 5 s.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// Publishes an empty message on a Redis channel after a commit.
#[derive(Clone, derive_more::Debug)]
#[debug("ChangeNotifier {{ name: {name:?}, .. }}")]
pub struct ChangeNotifier {
    name: &'static str,
    redis: ConnectionManager,
}

impl ChangeNotifier {
    pub fn new(name: &'static str, redis: ConnectionManager) -> Self {
        Self { name, redis }
    }

    /// Best effort: if publishing fails, other instances see the change at their next poll.
    pub async fn notify(&self) {
        let mut redis = self.redis.clone();
        let published =
            redis::cmd("PUBLISH").arg(self.name).arg("").query_async::<i64>(&mut redis).await;
        if let Err(error) = published {
            tracing::warn!(%error, notifier = self.name, "Failed to notify other instances; they see the change at their next poll.");
        }
    }

    /// Calls `on_change` at once, every [`POLL_INTERVAL`], and for each message, until shutdown.
    pub fn subscribe<A, F>(&self, client: redis::Client, lifecycle: &Lifecycle, on_change: A)
    where
        A: Fn() -> F + Clone + Send + Sync + 'static,
        F: Future<Output = ()> + Send,
    {
        let (name, on_message) = (self.name, on_change.clone());
        lifecycle.spawn_until_stop(async move { poll_repeatedly(on_change).await });
        lifecycle
            .spawn_until_stop(async move { receive_repeatedly(name, &client, on_message).await });
    }
}

async fn poll_repeatedly<F: Future<Output = ()>>(on_change: impl Fn() -> F) {
    let mut tick = interval(POLL_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        on_change().await;
    }
}

async fn receive_repeatedly<F: Future<Output = ()>>(
    name: &'static str,
    client: &redis::Client,
    on_change: impl Fn() -> F,
) {
    let mut tick = interval(POLL_INTERVAL / 2);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if let Err(error) = receive(name, client, &on_change).await {
            tracing::debug!(%error, notifier = name, "Lost the subscription to change notifications; polling Postgres.");
        }
    }
}

/// Returns when the connection ends.
async fn receive<F: Future<Output = ()>>(
    name: &str,
    client: &redis::Client,
    on_change: &impl Fn() -> F,
) -> redis::RedisResult<()> {
    let mut connection = client.get_async_pubsub().await?;
    connection.subscribe(name).await?;
    let mut messages = connection.into_on_message();
    while messages.next().await.is_some() {
        on_change().await;
    }
    Ok(())
}
