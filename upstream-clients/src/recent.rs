//! What became of the calls of the last minutes, for people: the metrics have the whole story.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use contracts::dashboard::Reason;
use hdrhistogram::Histogram;
use tokio::time::Instant;

/// Percentiles are those of this and the minute before.
const MINUTE: Duration = Duration::from_secs(60);
/// Microseconds; a call cannot take longer.
const LONGEST: u64 = 60_000_000;

#[derive(Debug)]
pub(crate) struct Recent(Mutex<State>);

#[derive(Debug)]
struct State {
    last: Option<Last>,
    since: Instant,
    /// Durations in microseconds, to two digits.
    this_minute: Histogram<u32>,
    last_minute: Histogram<u32>,
}

/// The last call that ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Last {
    pub(crate) at: Instant,
    /// Absent when it was good.
    pub(crate) reason: Option<Reason>,
}

/// Durations that so many of a hundred calls did not exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Percentiles {
    pub(crate) p50: Duration,
    pub(crate) p95: Duration,
    pub(crate) p99: Duration,
}

impl Recent {
    pub(crate) fn new() -> Self {
        let empty = || Histogram::new_with_bounds(1, LONGEST, 2).expect("the bounds are in order");
        let (since, this_minute, last_minute) = (Instant::now(), empty(), empty());
        Self(Mutex::new(State { last: None, since, this_minute, last_minute }))
    }

    pub(crate) fn note(&self, reason: Option<Reason>, took: Duration, now: Instant) {
        self.with(|state| {
            state.last = Some(Last { at: now, reason });
            state.turn(now);
            state.this_minute.saturating_record(took.as_micros() as u64);
        });
    }

    pub(crate) fn last(&self) -> Option<Last> {
        self.with(|state| state.last)
    }

    /// `None` when there were no calls.
    pub(crate) fn percentiles(&self, now: Instant) -> Option<Percentiles> {
        let both = self.with(|state| {
            state.turn(now);
            let mut both = state.this_minute.clone();
            both.add(&state.last_minute).map(|()| both)
        });
        let both = both.ok().filter(|both| !both.is_empty())?;
        let at = |quantile| Duration::from_micros(both.value_at_quantile(quantile));
        Some(Percentiles { p50: at(0.50), p95: at(0.95), p99: at(0.99) })
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn turn(&mut self, now: Instant) {
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
    async fn percentiles_are_those_of_the_last_two_minutes() {
        let recent = Recent::new();
        assert_eq!(recent.percentiles(Instant::now()), None);
        for ms in 1..=100 {
            recent.note(None, Duration::from_millis(ms), Instant::now());
        }
        let seen = recent.percentiles(Instant::now()).unwrap();
        let is_near = |seen: Duration, ms: f64| (seen.as_secs_f64() * 1e3 / ms - 1.0).abs() < 0.02;
        assert!(is_near(seen.p50, 50.0) && is_near(seen.p95, 95.0) && is_near(seen.p99, 99.0));

        tokio::time::advance(MINUTE).await;
        recent.note(Some(Reason::UpstreamTimeout), Duration::from_secs(1), Instant::now());
        let seen = recent.percentiles(Instant::now()).unwrap();
        assert!(is_near(seen.p50, 51.0), "{seen:?}");
        assert_eq!(recent.last().unwrap().reason, Some(Reason::UpstreamTimeout));

        tokio::time::advance(MINUTE).await;
        let seen = recent.percentiles(Instant::now()).unwrap();
        assert!(is_near(seen.p50, 1000.0), "{seen:?}");
        tokio::time::advance(MINUTE * 2).await;
        assert_eq!(recent.percentiles(Instant::now()), None);
    }
}
