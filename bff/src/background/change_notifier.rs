//! How an instance keeps up with what any of them wrote down in Postgres: the session tier says
//! that there is something new, and Postgres is asked every two seconds as well, so that nothing
//! depends on the session tier.

use std::future::Future;
use std::time::Duration;

use futures_util::StreamExt;
use redis::aio::ConnectionManager;
use service_kit::lifecycle::Lifecycle;
use tokio::time::{MissedTickBehavior, interval};

/// With the statement's own limits this keeps to the contract's 5 s.
const ASK_EVERY: Duration = Duration::from_secs(2);

/// An empty message in the session tier, rung after a commit.
#[derive(Clone)]
pub struct Bell {
    name: &'static str,
    tier: ConnectionManager,
}

impl std::fmt::Debug for Bell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bell").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Bell {
    pub fn new(name: &'static str, tier: ConnectionManager) -> Self {
        Self { name, tier }
    }

    /// A bell that does not ring only costs time: the others find the news when they ask.
    pub async fn ring(&self) {
        let mut tier = self.tier.clone();
        let rung = redis::cmd("PUBLISH").arg(self.name).arg("").query_async::<i64>(&mut tier).await;
        if let Err(error) = rung {
            tracing::warn!(%error, bell = self.name, "Other instances hear of news only when they ask.");
        }
    }

    /// Asks now, every two seconds, and at each ring, until the program stops.
    pub fn follow<A, F>(&self, listener: redis::Client, lifecycle: &Lifecycle, ask: A)
    where
        A: Fn() -> F + Clone + Send + Sync + 'static,
        F: Future<Output = ()> + Send,
    {
        let (name, at_rings) = (self.name, ask.clone());
        lifecycle.spawn_until_stop(async move { keep_asking(ask).await });
        lifecycle.spawn_until_stop(async move { keep_listening(name, &listener, at_rings).await });
    }
}

async fn keep_asking<F: Future<Output = ()>>(ask: impl Fn() -> F) {
    let mut tick = interval(ASK_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        ask().await;
    }
}

async fn keep_listening<F: Future<Output = ()>>(
    name: &'static str,
    listener: &redis::Client,
    ask: impl Fn() -> F,
) {
    let mut tick = interval(ASK_EVERY / 2);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if let Err(error) = listen(name, listener, &ask).await {
            tracing::debug!(%error, bell = name, "The session tier does not tell of news; Postgres is asked.");
        }
    }
}

/// Returns when the connection ends.
async fn listen<F: Future<Output = ()>>(
    name: &str,
    listener: &redis::Client,
    ask: &impl Fn() -> F,
) -> redis::RedisResult<()> {
    let mut connection = listener.get_async_pubsub().await?;
    connection.subscribe(name).await?;
    let mut rings = connection.into_on_message();
    while rings.next().await.is_some() {
        ask().await;
    }
    Ok(())
}
