//! Applies the cache invalidations of other instances.

use composer::Composer;
use redis::RedisError;
use service_kit::background::BackgroundTask;

/// A subscription to the invalidations; its driver subscribes again when the connection ends.
pub(crate) struct InvalidationSubscription {
    pub(crate) composer: Composer,
    pub(crate) cache: redis::Client,
}

impl BackgroundTask for InvalidationSubscription {
    type Status = ();
    type Error = RedisError;

    /// Returns when the connection ends.
    async fn activate(&mut self) -> Result<(), RedisError> {
        self.composer.snapshots().follow(&self.cache).await
    }
}
