//! Sleeps for a precise duration. Tokio's timers have a resolution of a millisecond and round up, so
//! the last part of a delay is slept by a blocking thread.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The part that the thread sleeps: longer than tokio's timer may be late.
const THREAD_SLEEP: Duration = Duration::from_millis(3);

pub(super) async fn sleep(duration: Duration) {
    let end = Instant::now() + duration;
    if let Some(nearly) = end.checked_sub(THREAD_SLEEP) {
        sleep_until(nearly).await;
    }
    // It fails only when the runtime shuts down.
    let _ = tokio::task::spawn_blocking(move || sleep_until_exactly(end)).await;
}

#[expect(clippy::disallowed_methods, reason = "on a blocking thread, for a precise delay")]
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
            sleep(duration).await;
            assert!(began.elapsed() >= duration);
        }
    }
}
