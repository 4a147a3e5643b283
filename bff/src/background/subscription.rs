//! A subscription to a Redis channel, as a background task: its driver subscribes again when the
//! connection ends.
//!
//! Not here: messages that were missed meanwhile. Subscribers find out another way.

use std::time::Duration;

use futures_util::StreamExt;
use redis::{Msg, RedisError};
use service_kit::background::{BackgroundTask, Schedule, TaskDriver};

/// A connection that ends sooner is not replaced before this time.
pub(crate) const RECONNECT: Schedule = Schedule::every(Duration::from_secs(1));

/// Calls `on_message` for each message of `channel`.
pub(crate) struct Subscription<F> {
    pub(crate) channel: &'static str,
    pub(crate) client: redis::Client,
    pub(crate) on_message: F,
}

impl<F: FnMut(Msg) + Send + 'static> Subscription<F> {
    /// Subscribes until shutdown, as a task with the channel's name.
    pub(crate) fn start(self, driver: &TaskDriver) {
        driver.start(self.channel, self, RECONNECT);
    }
}

impl<F: FnMut(Msg) + Send + 'static> BackgroundTask for Subscription<F> {
    type Status = ();
    type Error = RedisError;

    /// Returns when the connection ends.
    async fn activate(&mut self) -> Result<(), RedisError> {
        let mut connection = self.client.get_async_pubsub().await?;
        connection.subscribe(self.channel).await?;
        let mut messages = connection.into_on_message();
        while let Some(message) = messages.next().await {
            (self.on_message)(message);
        }
        Ok(())
    }
}
