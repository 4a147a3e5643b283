//! How many calls to one upstream may be under way: a limit that follows what the upstream can
//! bear, shared so that no tenant takes it all. Past it a call is refused, never queued.

mod baseline;
mod estimate;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use foldhash::quality::RandomState;
use tokio::time::Instant;

use crate::caller::{Caller, Verdict};
use estimate::Estimate;

/// A caller may hold up to this many times what is left free. Alone it comes to two thirds of the
/// limit; two that want all come to two fifths each. Whatever they do, the next one finds room.
const SHARE: usize = 2;

#[derive(Debug)]
pub(crate) struct Limit(Mutex<State>);

#[derive(Debug)]
struct State {
    estimate: Estimate,
    in_flight: usize,
    /// Callers with calls under way, so never more than the limit.
    by_caller: HashMap<Caller, usize, RandomState>,
}

/// What the limit is and how much of it is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) limit: usize,
    pub(crate) in_flight: usize,
}

impl Limit {
    pub(crate) fn new(ceiling: usize) -> Self {
        let estimate = Estimate::new(ceiling, Instant::now());
        Self(Mutex::new(State { estimate, in_flight: 0, by_caller: HashMap::default() }))
    }

    /// Whether the caller may make one more call now. Then it must be ended.
    pub(crate) fn begin(&self, caller: Caller) -> bool {
        self.with(|state| {
            let free = state.estimate.limit().saturating_sub(state.in_flight);
            let own = state.by_caller.entry(caller).or_default();
            let may = free > 0 && *own < SHARE * free;
            if may {
                *own += 1;
                state.in_flight += 1;
                state.estimate.began(state.in_flight);
            } else if *own == 0 {
                state.by_caller.remove(&caller);
            }
            may
        })
    }

    /// A call that began at `since` has ended.
    pub(crate) fn end(&self, caller: Caller, verdict: Verdict, since: Instant, now: Instant) {
        self.with(|state| {
            state.in_flight -= 1;
            if let Some(own) = state.by_caller.get_mut(&caller) {
                *own -= 1;
                if *own == 0 {
                    state.by_caller.remove(&caller);
                }
            }
            state.estimate.ended(caller, verdict, now.saturating_duration_since(since), now);
        });
    }

    /// Room for something beside a call, given back when dropped. Nothing is learned from it.
    pub(crate) fn spare(&self, caller: Caller) -> Option<Spare<'_>> {
        self.begin(caller).then_some(Spare { limit: self, caller })
    }

    pub(crate) fn usage(&self) -> Usage {
        self.with(|state| Usage { limit: state.estimate.limit(), in_flight: state.in_flight })
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[derive(Debug)]
pub(crate) struct Spare<'a> {
    limit: &'a Limit,
    caller: Caller,
}

impl Drop for Spare<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        self.limit.end(self.caller, Verdict::Nothing, now, now);
    }
}

#[cfg(test)]
mod tests;
