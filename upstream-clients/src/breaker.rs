//! Circuit breaker: an upstream that keeps failing is left alone for a while, then asked a
//! little; a good answer closes it again.
//!
//! There is a door for each caller and one for all. A caller's own failures open its own door.
//! The one for all opens when calls fail for most of the callers, so that a tenant whose calls
//! always fail keeps nobody out, and a quiet tenant need not find out by itself what the others know.

mod door;
mod history;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use foldhash::quality::RandomState;
use tokio::time::Instant;

use crate::caller::{Caller, Verdict};
pub(crate) use door::Position;
use door::{Door, Pass};
use history::History;

/// Probes of the door for all; a caller's own has one.
const PROBES: u32 = 3;
/// Callers with a door of their own at most. One more is judged by the door for all.
const CALLERS: usize = 128;
/// A caller that did not fail for this long is forgotten.
const REMEMBERED: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Breaker(Mutex<State>);

#[derive(Debug)]
struct State {
    all: Door,
    history: History,
    /// Only of callers that failed of late: a good call costs no entry.
    own: HashMap<Caller, Box<Own>, RandomState>,
    swept: Instant,
}

#[derive(Debug)]
struct Own {
    door: Door,
    history: History,
    last_failure: Instant,
}

impl Own {
    fn new(history: History, now: Instant) -> Box<Self> {
        Box::new(Self { door: Door::new(1), history, last_failure: now })
    }
}

/// A call that may be made, and must be settled.
#[derive(Debug)]
pub(crate) struct Admitted {
    by_all: Pass,
    by_own: Pass,
}

/// How all doors stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Doors {
    /// That of the door which is furthest open.
    pub(crate) position: Position,
    /// Callers that are kept out by doors of their own.
    pub(crate) shut_out: usize,
}

impl Breaker {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self(Mutex::new(State {
            all: Door::new(PROBES),
            history: History::new(now),
            own: HashMap::default(),
            swept: now,
        }))
    }

    /// Whether a call may be made now.
    pub(crate) fn admit(&self, caller: Caller, now: Instant) -> Option<Admitted> {
        self.with(|state| state.admit(caller, now))
    }

    pub(crate) fn settle(
        &self,
        caller: Caller,
        admitted: &Admitted,
        verdict: Verdict,
        now: Instant,
    ) {
        self.with(|state| state.settle(caller, admitted, verdict, now));
    }

    pub(crate) fn doors(&self) -> Doors {
        self.with(|state| {
            let shut = state.own.values().filter(|own| !own.door.is_closed());
            let own = state.own.values().map(|own| own.door.position());
            Doors {
                position: own.chain([state.all.position()]).max().unwrap_or(Position::Closed),
                shut_out: shut.count(),
            }
        })
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn admit(&mut self, caller: Caller, now: Instant) -> Option<Admitted> {
        let own = self.own.get_mut(&caller);
        let by_own = own.map_or(Some(Pass::Freely), |own| own.door.admit(caller.bit(), now))?;
        if let Some(by_all) = self.all.admit(caller.bit(), now) {
            return Some(Admitted { by_all, by_own });
        }
        if let Some(own) = self.own.get_mut(&caller) {
            own.door.settle(by_own, Verdict::Nothing, now);
        }
        None
    }

    fn settle(&mut self, caller: Caller, admitted: &Admitted, verdict: Verdict, now: Instant) {
        if self.all.settle(admitted.by_all, verdict, now) {
            self.history = History::new(now);
        }
        if let Some(own) = self.own.get_mut(&caller)
            && own.door.settle(admitted.by_own, verdict, now)
        {
            own.history = History::new(now);
        }
        match verdict {
            Verdict::Answers => self.answered(caller, now),
            Verdict::Late | Verdict::Fails => self.failed(caller, now),
            Verdict::Nothing => {}
        }
        if !self.own.is_empty() && now.saturating_duration_since(self.swept) >= REMEMBERED / 10 {
            self.sweep(now);
        }
    }

    fn answered(&mut self, caller: Caller, now: Instant) {
        self.history.answered(caller.bit(), now);
        if let Some(own) = self.own.get_mut(&caller) {
            own.history.answered(caller.bit(), now);
        }
    }

    fn failed(&mut self, caller: Caller, now: Instant) {
        self.history.failed(caller.bit(), now);
        if self.all.is_closed() && self.history.fails_for_most(now) {
            self.all.open(now);
        }
        if self.own.len() >= CALLERS && !self.own.contains_key(&caller) {
            return;
        }
        let own = self.own.entry(caller).or_insert_with(|| {
            // Its good calls were not counted.
            let was_well = self.history.has_answered(caller.bit(), now);
            Own::new(if was_well { History::new(now) } else { History::without_good(now) }, now)
        });
        own.last_failure = now;
        own.history.failed(caller.bit(), now);
        if own.door.is_closed() && own.history.fails_mostly(now) {
            own.door.open(now);
        }
    }

    fn sweep(&mut self, now: Instant) {
        let is_recent = |at: Instant| now.saturating_duration_since(at) < REMEMBERED;
        self.own.retain(|_, own| own.door.probes_out() > 0 || is_recent(own.last_failure));
        self.swept = now;
    }
}

#[cfg(test)]
mod tests;
