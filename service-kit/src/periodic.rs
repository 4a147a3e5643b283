//! Runs a task periodically, with jitter and a shorter interval after failures.
//!
//! Not here: exclusion between instances; the task takes its own lock.

use std::future::Future;
use std::time::Duration;

use contracts::clock::Entropy;

/// When a task runs.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// Interval after a success.
    pub interval: Duration,
    /// Interval after a failure.
    pub retry: Duration,
    /// Longest random delay before each run, so that instances do not run at the same time.
    pub jitter: Duration,
}

/// The outcome of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunOutcome {
    Done,
    Failed,
}

/// Runs `work` at start and then on `schedule`, until the task is dropped.
pub async fn repeat<W, F>(schedule: Schedule, entropy: Entropy, mut work: W)
where
    W: FnMut() -> F,
    F: Future<Output = RunOutcome>,
{
    loop {
        tokio::time::sleep(up_to(schedule.jitter, &entropy)).await;
        let pause = match work().await {
            RunOutcome::Done => schedule.interval,
            RunOutcome::Failed => schedule.retry.min(schedule.interval),
        };
        tokio::time::sleep(pause).await;
    }
}

fn up_to(longest: Duration, entropy: &Entropy) -> Duration {
    let share = (entropy.u128() % 1000) as f64 / 1000.0;
    longest.mul_f64(share)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    use tokio::time::{Instant, timeout};

    use super::*;

    const SCHEDULE: Schedule = Schedule {
        interval: Duration::from_secs(3600),
        retry: Duration::from_secs(60),
        jitter: Duration::from_secs(10),
    };

    /// The seconds at which a task ran that fails `failures` times.
    async fn runs(schedule: Schedule, failures: usize, within: Duration) -> Vec<u64> {
        let (began, times) = (Instant::now(), Arc::new(Mutex::new(Vec::new())));
        let failed = AtomicUsize::new(0);
        let repeated = repeat(schedule, Entropy::system(), || {
            times.lock().unwrap().push(began.elapsed().as_secs());
            let fails = failed.fetch_add(1, Ordering::Relaxed) < failures;
            std::future::ready(if fails { RunOutcome::Failed } else { RunOutcome::Done })
        });
        assert!(timeout(within, repeated).await.is_err(), "it never ends by itself");
        times.lock().unwrap().clone()
    }

    #[tokio::test(start_paused = true)]
    async fn it_runs_at_start_and_then_once_per_interval() {
        let times = runs(SCHEDULE, 0, Duration::from_secs(3 * 3600)).await;
        assert_eq!(times.len(), 3, "{times:?}");
        for (run, second) in (0..).zip(&times) {
            let earliest = run * 3600;
            assert!((earliest..=earliest + 10 * (run + 1)).contains(second), "{times:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_run_is_repeated_soon() {
        let schedule = Schedule { jitter: Duration::ZERO, ..SCHEDULE };
        let times = runs(schedule, 2, Duration::from_secs(7200)).await;
        assert_eq!(times, [0, 60, 120, 3720]);
    }
}
