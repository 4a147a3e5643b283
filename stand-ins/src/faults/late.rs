//! Waiting for exactly so long. Tokio's timers tick in milliseconds and round up, which is much of
//! a delay of twenty: the last of it is left to a thread that sleeps.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// What a thread sleeps: more than tokio's timer may be late.
const LAST: Duration = Duration::from_millis(3);

pub(super) async fn wait(duration: Duration) {
    let end = Instant::now() + duration;
    if let Some(nearly) = end.checked_sub(LAST) {
        sleep_until(nearly).await;
    }
    // It ends with the program, whose last answers nobody waits for.
    let _ = tokio::task::spawn_blocking(move || sleep_until_exactly(end)).await;
}

#[expect(clippy::disallowed_methods, reason = "the delay is what is asked for")]
fn sleep_until_exactly(end: Instant) {
    std::thread::sleep(end.saturating_duration_since(Instant::now()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_never_early() {
        for duration in [Duration::ZERO, Duration::from_micros(300), Duration::from_millis(20)] {
            let began = Instant::now();
            wait(duration).await;
            assert!(began.elapsed() >= duration);
        }
    }
}
