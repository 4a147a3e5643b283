//! How long to wait for the session tier. One late answer is not a tier that is away: else
//! whoever keeps an instance busy could have a used proof let in there, because the instance
//! would judge by itself, and it knows nothing of the others' proofs (GD-3).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// The path of every request: what a tier that is away may cost each.
const ANSWER_WITHIN: Duration = Duration::from_millis(100);
/// A tier that answered so lately is late, not away.
const LATE: Duration = Duration::from_secs(1);

/// When the tier was last heard of.
#[derive(Debug)]
pub(super) struct Pulse {
    begun: Instant,
    /// Milliseconds after `begun`.
    heard: AtomicU64,
    patience: Duration,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self { begun: Instant::now(), heard: AtomicU64::new(0), patience: ANSWER_WITHIN }
    }

    /// The same, which waits this long for a tier that is silent.
    pub(super) fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// It answered just now.
    pub(super) fn beat(&self) {
        self.heard.fetch_max(self.begun.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// Until when a question that is asked now waits.
    pub(super) fn deadline(&self) -> Instant {
        let heard = Duration::from_millis(self.heard.load(Ordering::Relaxed));
        (self.begun + heard + LATE).max(Instant::now() + self.patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_tier_that_answered_lately_is_waited_for_and_a_silent_one_is_not() {
        let pulse = Pulse::new();
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(pulse.deadline() - Instant::now(), ANSWER_WITHIN, "silent for a minute");
        pulse.beat();
        assert_eq!(pulse.deadline() - Instant::now(), LATE);
        tokio::time::advance(Duration::from_millis(600)).await;
        assert_eq!(pulse.deadline() - Instant::now(), Duration::from_millis(400));
        tokio::time::advance(Duration::from_millis(350)).await;
        assert_eq!(pulse.deadline() - Instant::now(), ANSWER_WITHIN);
    }
}
