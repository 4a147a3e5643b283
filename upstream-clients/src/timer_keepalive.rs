//! Keeps an early timer armed, so that new deadlines do not wake tokio's timer driver.
//!
//! Tokio wakes its driver by a system call when a timer is set that ends before all others; the
//! driver then polls every socket again. Without this task the deadline of each request does that.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

/// Shorter than nearly all deadlines. Fifty wake-ups a second are not measurable.
const TICK_INTERVAL: Duration = Duration::from_millis(20);

/// Runs forever.
pub async fn run() {
    let mut ticks = interval(TICK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
    }
}
