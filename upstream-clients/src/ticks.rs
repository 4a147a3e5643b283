//! A timer that always stands. Tokio tells its driver of a timer that ends before all others by a
//! system call, after which it looks at every socket once more. The deadlines of each request are
//! such timers, unless one that ends sooner stands already.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

/// Sooner than nearly all deadlines; fifty wake-ups a second are not seen in any figure.
const EVERY: Duration = Duration::from_millis(20);

/// Ticks for ever.
pub async fn tick() {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
    }
}
