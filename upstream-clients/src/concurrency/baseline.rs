//! The best latency of late: what a call takes when nobody is in its way.

use std::time::Duration;

use tokio::time::Instant;

/// The best is remembered for one to two of these; then a slower upstream is a new normal.
const EPOCH: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub(super) struct Baseline {
    since: Instant,
    this_epoch: Option<Duration>,
    last_epoch: Option<Duration>,
}

impl Baseline {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, this_epoch: None, last_epoch: None }
    }

    /// The best, this one included.
    pub(super) fn best(&mut self, took: Duration, now: Instant) -> Duration {
        let age = now.saturating_duration_since(self.since);
        if age >= EPOCH {
            self.last_epoch = self.this_epoch.take().filter(|_| age < EPOCH * 2);
            self.since = now;
        }
        let best = self.this_epoch.map_or(took, |best| best.min(took));
        self.this_epoch = Some(best);
        self.last_epoch.map_or(best, |last| last.min(best))
    }
}
