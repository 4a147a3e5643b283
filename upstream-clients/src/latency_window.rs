//! Latency percentiles of the last one to two minutes and the last outcome, for diagnostics.

use std::time::Duration;

use contracts::dashboard::Reason;
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::report::Latency;

/// Percentiles cover this minute and the one before.
const MINUTE: Duration = Duration::from_secs(60);
/// No call takes longer.
const MAX_MICROS: u64 = 60_000_000;

#[derive(Debug)]
pub(crate) struct LatencyWindow(Mutex<State>);

#[derive(Debug)]
struct State {
    last: Option<LastOutcome>,
    since: Instant,
    /// Durations in microseconds, to two digits.
    this_minute: Histogram<u32>,
    last_minute: Histogram<u32>,
}

/// The last call that ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LastOutcome {
    pub(crate) at: Instant,
    /// `None` when it succeeded.
    pub(crate) reason: Option<Reason>,
}

impl LatencyWindow {
    pub(crate) fn new() -> Self {
        let empty =
            || Histogram::new_with_bounds(1, MAX_MICROS, 2).expect("the bounds are in order");
        let (since, this_minute, last_minute) = (Instant::now(), empty(), empty());
        Self(Mutex::new(State { last: None, since, this_minute, last_minute }))
    }

    pub(crate) fn record(&self, reason: Option<Reason>, took: Duration, now: Instant) {
        let mut state = self.0.lock();
        state.last = Some(LastOutcome { at: now, reason });
        state.rotate(now);
        state.this_minute.saturating_record(took.as_micros() as u64);
    }

    pub(crate) fn last(&self) -> Option<LastOutcome> {
        self.0.lock().last
    }

    /// `None` when there were no calls.
    pub(crate) fn percentiles(&self, now: Instant) -> Option<Latency> {
        let mut state = self.0.lock();
        state.rotate(now);
        let mut both = state.this_minute.clone();
        both.add(&state.last_minute).ok().filter(|()| !both.is_empty())?;
        drop(state);
        let at = |quantile| both.value_at_quantile(quantile) as f64 / 1e3;
        Some(Latency { p50_ms: at(0.50), p95_ms: at(0.95), p99_ms: at(0.99) })
    }
}

impl State {
    fn rotate(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.since);
        if age < MINUTE {
            return;
        }
        std::mem::swap(&mut self.this_minute, &mut self.last_minute);
        self.this_minute.reset();
        if age >= MINUTE * 2 {
            self.last_minute.reset();
        }
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn percentiles_cover_the_last_two_minutes() {
        let window = LatencyWindow::new();
        assert_eq!(window.percentiles(Instant::now()), None);
        for ms in 1..=100 {
            window.record(None, Duration::from_millis(ms), Instant::now());
        }
        let seen = window.percentiles(Instant::now()).unwrap();
        let is_near = |seen: f64, ms: f64| (seen / ms - 1.0).abs() < 0.02;
        assert!(is_near(seen.p50_ms, 50.0), "{seen:?}");
        assert!(is_near(seen.p95_ms, 95.0) && is_near(seen.p99_ms, 99.0), "{seen:?}");

        tokio::time::advance(MINUTE).await;
        window.record(Some(Reason::UpstreamTimeout), Duration::from_secs(1), Instant::now());
        let seen = window.percentiles(Instant::now()).unwrap();
        assert!(is_near(seen.p50_ms, 51.0), "{seen:?}");
        assert_eq!(window.last().unwrap().reason, Some(Reason::UpstreamTimeout));

        tokio::time::advance(MINUTE).await;
        let seen = window.percentiles(Instant::now()).unwrap();
        assert!(is_near(seen.p50_ms, 1000.0), "{seen:?}");
        tokio::time::advance(MINUTE * 2).await;
        assert_eq!(window.percentiles(Instant::now()), None);
    }
}
