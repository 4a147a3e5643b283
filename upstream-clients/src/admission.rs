//! What a call holds while it is under way: its place in the limit and its pass through the
//! breaker. Both are settled when it ends, and when it is dropped.

use std::time::Duration;

use tokio::time::Instant;

use crate::breaker::{Admitted, Breaker};
use crate::caller::{Caller, Verdict};
use crate::concurrency::Limit;
use crate::error::CallError;

/// A call that was given less than this says nothing by being late.
const FAIR: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(crate) struct Admission<'a> {
    limit: &'a Limit,
    breaker: &'a Breaker,
    caller: Caller,
    admitted: Admitted,
    deadline: Instant,
    had_time: bool,
    /// When the attempt under way began: a wait before a retry is not the upstream's.
    since: Instant,
    verdict: Option<Verdict>,
}

impl<'a> Admission<'a> {
    pub(crate) fn begin(
        limit: &'a Limit,
        breaker: &'a Breaker,
        caller: Caller,
        deadline: Instant,
        now: Instant,
    ) -> Result<Self, CallError> {
        if !limit.begin(caller) {
            return Err(CallError::ConcurrencyLimit);
        }
        let Some(admitted) = breaker.admit(caller, now) else {
            limit.end(caller, Verdict::Nothing, now, now);
            return Err(CallError::BreakerOpen);
        };
        let had_time = deadline.saturating_duration_since(now) >= FAIR;
        let verdict = None;
        Ok(Self { limit, breaker, caller, admitted, deadline, had_time, since: now, verdict })
    }

    /// The call is tried once more.
    pub(crate) fn again(&mut self, now: Instant) {
        self.since = now;
    }

    pub(crate) fn end(mut self, verdict: Verdict) {
        self.verdict = Some(verdict);
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        // Whoever dropped it at its deadline waited as long as the call itself would have.
        let dropped = if now >= self.deadline { Verdict::Late } else { Verdict::Nothing };
        let verdict = match self.verdict.unwrap_or(dropped) {
            Verdict::Late if !self.had_time => Verdict::Nothing,
            verdict => verdict,
        };
        self.limit.end(self.caller, verdict, self.since, now);
        self.breaker.settle(self.caller, &self.admitted, verdict, now);
    }
}
