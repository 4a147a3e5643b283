//! The best recent latency: what a call takes without queueing.

use std::time::Duration;

use tokio::time::Instant;

/// The best is remembered for one to two epochs; then a slower upstream is the new normal.
const EPOCH: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub(super) struct Baseline {
    epoch_start: Instant,
    this_epoch: Option<Duration>,
    last_epoch: Option<Duration>,
}

impl Baseline {
    pub(super) fn new(now: Instant) -> Self {
        Self { epoch_start: now, this_epoch: None, last_epoch: None }
    }

    /// Records a latency. Returns the best so far.
    pub(super) fn best(&mut self, took: Duration, now: Instant) -> Duration {
        let age = now.saturating_duration_since(self.epoch_start);
        if age >= EPOCH {
            self.last_epoch = self.this_epoch.take().filter(|_| age < EPOCH * 2);
            self.epoch_start = now;
        }
        let best = self.this_epoch.map_or(took, |best| best.min(took));
        self.this_epoch = Some(best);
        self.last_epoch.map_or(best, |last| last.min(best))
    }
}
