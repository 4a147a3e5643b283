//! Notifies other instances of new rows in Postgres through Redis pub/sub. The tasks that follow the
//! rows also read Postgres every [`POLL`], so that nothing depends on Redis.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::ConnectionManager;
use serde::Serialize;
use service_kit::background::{BackgroundTask, Schedule, TaskDriver};
use tokio::sync::Notify;

use super::subscription::Subscription;

/// Together with the statement timeout this stays within the contract's 5 s.
const POLL: Schedule = Schedule::every(Duration::from_secs(2));

/// How far an instance has followed a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Position {
    /// Of the last row it read; 0 for none.
    pub sequence: i64,
}

/// Publishes an empty message on a Redis channel after a commit.
#[derive(Clone, derive_more::Debug)]
#[debug("ChangeNotifier {{ channel: {channel:?}, .. }}")]
pub(crate) struct ChangeNotifier {
    channel: &'static str,
    redis: ConnectionManager,
}

impl ChangeNotifier {
    pub(crate) fn new(channel: &'static str, redis: ConnectionManager) -> Self {
        Self { channel, redis }
    }

    /// Best effort: if publishing fails, other instances see the change at their next poll.
    pub(crate) async fn notify(&self) {
        let mut redis = self.redis.clone();
        let published =
            redis::cmd("PUBLISH").arg(self.channel).arg("").query_async::<i64>(&mut redis).await;
        if let Err(error) = published {
            tracing::warn!(%error, channel = self.channel, "Failed to notify other instances; they see the change at their next poll.");
        }
    }

    /// Starts a task that is activated at once, every [`POLL`], and after a message.
    pub(crate) fn start(
        &self,
        name: &'static str,
        task: impl BackgroundTask,
        client: redis::Client,
        driver: &TaskDriver,
    ) {
        let wake_up = Arc::new(Notify::new());
        let notified = Arc::clone(&wake_up);
        let on_message = move |_| notified.notify_one();
        Subscription { channel: self.channel, client, on_message }.start(driver);
        driver.start_with_wake_up(name, task, POLL, wake_up);
    }
}
