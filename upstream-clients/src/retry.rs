//! Decides whether and when to retry, within the retry count, the upstream's budget and the
//! deadline.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use tokio::time::Instant;
use tower::retry::budget::{Budget, TpsBudget};

/// The shortest and the longest wait before a retry.
const SHORTEST_WAIT: Duration = Duration::from_millis(5);
const LONGEST_WAIT: Duration = Duration::from_millis(100);
/// A retry is not started when less than this would remain for it.
const SHORTEST_ATTEMPT: Duration = Duration::from_millis(20);

/// One retry per ten calls over ten seconds, and one per second for an idle upstream.
pub(crate) fn budget() -> TpsBudget {
    TpsBudget::new(Duration::from_secs(10), 1, 0.1)
}

/// The retries of one call.
#[derive(Debug)]
pub(crate) struct Retries {
    left: u32,
    deadline: Instant,
    wait: Duration,
}

impl Retries {
    pub(crate) fn new(left: u32, deadline: Instant) -> Self {
        Self { left, deadline, wait: SHORTEST_WAIT }
    }

    /// Returns the wait before the next attempt, or `None` to give up. `retry_after` is the
    /// upstream's. `call` seeds the jitter, so that calls that failed together retry apart.
    pub(crate) fn next(
        &mut self,
        budget: &TpsBudget,
        retry_after: Option<Duration>,
        call: impl Hash,
        now: Instant,
    ) -> Option<Duration> {
        self.left = self.left.checked_sub(1)?;
        self.wait = jittered(self.wait, (call, self.left));
        let wait = self.wait.max(retry_after.unwrap_or_default());
        let is_in_time = now + wait + SHORTEST_ATTEMPT <= self.deadline;
        (is_in_time && budget.withdraw()).then_some(wait)
    }
}

/// Decorrelated jitter: between the shortest wait and three times the last one.
fn jittered(last: Duration, call: impl Hash) -> Duration {
    let mut hasher = DefaultHasher::new();
    call.hash(&mut hasher);
    let unit = hasher.finish() as f64 / u64::MAX as f64;
    SHORTEST_WAIT + (last * 3).saturating_sub(SHORTEST_WAIT).min(LONGEST_WAIT).mul_f64(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[tokio::test(start_paused = true)]
    async fn waits_are_jittered_and_grow_at_most_threefold() {
        let now = Instant::now();
        let mut waits = std::collections::BTreeSet::new();
        for call in 0..100 {
            let mut retries = Retries::new(2, now + ms(1000));
            // A fresh budget each time, because only the wait is tested.
            let first = retries.next(&budget(), None, call, now).unwrap();
            let second = retries.next(&budget(), None, call, now).unwrap();
            assert!((ms(5)..=ms(15)).contains(&first), "{first:?}");
            assert!((ms(5)..=first * 3).contains(&second), "{second:?} after {first:?}");
            assert_eq!(retries.next(&budget(), None, call, now), None);
            waits.insert(first);
        }
        assert!(waits.len() > 90);
    }

    #[tokio::test(start_paused = true)]
    async fn a_retry_without_enough_time_is_not_started() {
        let now = Instant::now();
        assert_eq!(Retries::new(1, now + ms(24)).next(&budget(), None, 1, now), None);
        assert!(Retries::new(1, now + ms(35)).next(&budget(), None, 1, now).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn retry_after_is_honoured_if_it_fits() {
        let now = Instant::now();
        let retry_after = Some(Duration::from_secs(1));
        let retry = |deadline| Retries::new(1, now + deadline).next(&budget(), retry_after, 1, now);
        assert_eq!(retry(ms(1500)), retry_after);
        assert_eq!(retry(ms(1010)), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_budget_bounds_the_retries_of_all_calls() {
        let now = Instant::now();
        let budget = budget();
        (0..100).for_each(|_| budget.deposit());
        let retried = (0..100)
            .filter(|call| Retries::new(1, now + ms(500)).next(&budget, None, call, now).is_some())
            .count();
        // A tenth of the calls, plus the ten allowed to an idle upstream.
        assert!((10..=20).contains(&retried), "{retried}");
    }
}
