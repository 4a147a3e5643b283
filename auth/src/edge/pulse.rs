//! How long to wait for the session tier. One late answer is not a tier that is away: else
//! whoever keeps an instance busy could have a used proof let in there, because the instance
//! would judge by itself, and it knows nothing of the others' proofs (GD-3).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// The path of every request: what a tier that is away may cost each.
const ANSWER_WITHIN: Duration = Duration::from_millis(100);
/// A tier that left questions unanswered for less than this is late, not away.
const LATE: Duration = Duration::from_secs(1);
/// Nothing is unanswered.
const HEARD: u64 = u64::MAX;

/// Since when the tier has been silent.
#[derive(Debug)]
pub(super) struct Pulse {
    begun: Instant,
    /// When the first question after its last answer was asked, milliseconds after `begun`.
    silent_since: AtomicU64,
    patience: Duration,
}

impl Pulse {
    pub(super) fn new() -> Self {
        let silent_since = AtomicU64::new(HEARD);
        Self { begun: Instant::now(), silent_since, patience: ANSWER_WITHIN }
    }

    /// The same, which waits this long for a tier that is away.
    pub(super) fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// A question is asked now.
    pub(super) fn ask(&self) -> Question<'_> {
        let now = Instant::now();
        let asked = (now - self.begun).as_millis() as u64;
        let first = self.silent_since.fetch_min(asked, Ordering::Relaxed).min(asked);
        let late = self.begun + Duration::from_millis(first) + LATE;
        Question { pulse: self, asked, waits_until: late.max(now + self.patience) }
    }
}

/// One question to the tier. Who drops it says nothing about the tier: its caller went away.
#[derive(Debug)]
pub(super) struct Question<'a> {
    pulse: &'a Pulse,
    asked: u64,
    pub(super) waits_until: Instant,
}

impl Question<'_> {
    pub(super) fn answered(self) {
        self.pulse.silent_since.store(HEARD, Ordering::Relaxed);
    }

    pub(super) fn unanswered(self) {
        std::mem::forget(self);
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        let since = &self.pulse.silent_since;
        // Only what this question began; that another one began it is no failure.
        let _ = since.compare_exchange(self.asked, HEARD, Ordering::Relaxed, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_tier_is_waited_for_until_it_has_been_silent_for_long() {
        let (pulse, pass) = (Pulse::new(), tokio::time::advance);
        let wait = || {
            let question = pulse.ask();
            let until = question.waits_until;
            question.unanswered();
            until - Instant::now()
        };
        pass(Duration::from_mins(1)).await;
        assert_eq!(wait(), LATE, "nobody asked for a minute");
        pass(Duration::from_millis(600)).await;
        assert_eq!(wait(), Duration::from_millis(400));
        pass(Duration::from_mins(1)).await;
        assert_eq!(wait(), ANSWER_WITHIN, "away");
        pulse.ask().answered();
        assert_eq!(wait(), LATE, "back");
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_goes_away_does_not_make_the_tier_silent() {
        let pulse = Pulse::new();
        drop(pulse.ask());
        tokio::time::advance(Duration::from_mins(1)).await;
        assert_eq!(pulse.ask().waits_until - Instant::now(), LATE);
    }
}
