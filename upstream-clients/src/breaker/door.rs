//! The three states of a breaker, and the probes that lead back from the last. Pure: it is told
//! when calls fail too often.

use std::time::Duration;

use tokio::time::Instant;

use crate::caller::Verdict;

/// How long it stays open before it lets probes through.
pub(super) const OPEN_FOR: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Door {
    state: State,
    /// Probes at once when half-open, each of another caller: one whose calls fail in any case
    /// does not decide for all.
    probes: u32,
    /// Counts the times it was half-open: a probe of an earlier time decides nothing.
    round: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    Open {
        until: Instant,
    },
    HalfOpen {
        /// The callers that sent a probe, as bits.
        asked: u64,
        /// Probes without an outcome.
        out: u32,
    },
}

/// How a call came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a probe must be settled"]
pub(super) enum Pass {
    Freely,
    Probe { round: u32, caller: u64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Position {
    Closed,
    HalfOpen,
    Open,
}

impl Position {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half-open",
            Self::Open => "open",
        }
    }
}

impl Door {
    pub(super) fn new(probes: u32) -> Self {
        Self { state: State::Closed, probes, round: 0 }
    }

    pub(super) fn admit(&mut self, caller: u64, now: Instant) -> Option<Pass> {
        if let State::Open { until } = self.state
            && now >= until
        {
            self.round += 1;
            self.state = State::HalfOpen { asked: 0, out: 0 };
        }
        match &mut self.state {
            State::Closed => Some(Pass::Freely),
            State::Open { .. } => None,
            State::HalfOpen { asked, out } => {
                let may = asked.count_ones() < self.probes && *asked & caller == 0;
                may.then(|| {
                    *asked |= caller;
                    *out += 1;
                    Pass::Probe { round: self.round, caller }
                })
            }
        }
    }

    /// Whether the door was closed by it.
    pub(super) fn settle(&mut self, pass: Pass, verdict: Verdict, now: Instant) -> bool {
        let Pass::Probe { round, caller } = pass else { return false };
        if round != self.round {
            return false;
        }
        let State::HalfOpen { asked, out } = &mut self.state else { return false };
        *out -= 1;
        match verdict {
            Verdict::Answers => {
                self.state = State::Closed;
                return true;
            }
            Verdict::Nothing => *asked &= !caller,
            Verdict::Late | Verdict::Fails => {}
        }
        if *out == 0 && *asked != 0 {
            self.open(now);
        }
        false
    }

    /// Calls fail too often.
    pub(super) fn open(&mut self, now: Instant) {
        self.state = State::Open { until: now + OPEN_FOR };
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Probes without an outcome.
    pub(super) fn probes_out(&self) -> u32 {
        if let State::HalfOpen { out, .. } = self.state { out } else { 0 }
    }

    pub(super) fn position(&self) -> Position {
        match self.state {
            State::Closed => Position::Closed,
            State::HalfOpen { .. } => Position::HalfOpen,
            State::Open { .. } => Position::Open,
        }
    }
}
