//! Circuit breaker: after repeated failures an upstream is left alone for a while, then asked
//! once; a good answer closes it again.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Failures in a row that open it (the platform's sibling gateways use five).
const FAILURES: u32 = 5;
/// How long it stays open before one probe is let through.
const OPEN_FOR: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Breaker(Mutex<State>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed {
        failures: u32,
    },
    Open {
        until: Instant,
    },
    /// One probe is under way since this instant.
    HalfOpen {
        since: Instant,
    },
}

impl Breaker {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(State::Closed { failures: 0 }))
    }

    /// Whether a call may be made now.
    pub(crate) fn admit(&self) -> bool {
        let now = Instant::now();
        self.with(|state| match *state {
            State::Closed { .. } => true,
            // A probe that was dropped with its request must not hold the door for ever.
            State::Open { until: at } if now < at => false,
            State::HalfOpen { since } if now < since + OPEN_FOR => false,
            _ => {
                *state = State::HalfOpen { since: now };
                true
            }
        })
    }

    pub(crate) fn succeeded(&self) {
        self.with(|state| *state = State::Closed { failures: 0 });
    }

    pub(crate) fn failed(&self) {
        let now = Instant::now();
        self.with(|state| {
            *state = match *state {
                State::Closed { failures } if failures + 1 < FAILURES => {
                    State::Closed { failures: failures + 1 }
                }
                State::Open { until } => State::Open { until },
                _ => State::Open { until: now + OPEN_FOR },
            }
        });
    }

    /// 0 closed, 0.5 half-open, 1 open: the value of the metric.
    pub(crate) fn level(&self) -> f64 {
        self.with(|state| match state {
            State::Closed { .. } => 0.0,
            State::HalfOpen { .. } => 0.5,
            State::Open { .. } => 1.0,
        })
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened() -> Breaker {
        let breaker = Breaker::new();
        (0..FAILURES).for_each(|_| breaker.failed());
        breaker
    }

    #[tokio::test(start_paused = true)]
    async fn five_failures_in_a_row_open_it_and_a_success_between_does_not() {
        let breaker = Breaker::new();
        (0..4).for_each(|_| breaker.failed());
        breaker.succeeded();
        (0..4).for_each(|_| breaker.failed());
        assert!(breaker.admit());
        breaker.failed();
        assert!(!breaker.admit());
    }

    #[tokio::test(start_paused = true)]
    async fn one_probe_passes_after_a_while_and_decides() {
        let breaker = opened();
        tokio::time::advance(OPEN_FOR).await;
        assert!(breaker.admit());
        assert!(!breaker.admit(), "a second probe passed");
        breaker.failed();
        assert!(!breaker.admit());
        tokio::time::advance(OPEN_FOR).await;
        assert!(breaker.admit());
        breaker.succeeded();
        assert!(breaker.admit() && breaker.admit());
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_was_dropped_does_not_hold_the_door() {
        let breaker = opened();
        tokio::time::advance(OPEN_FOR).await;
        assert!(breaker.admit());
        tokio::time::advance(OPEN_FOR).await;
        assert!(breaker.admit());
    }
}
