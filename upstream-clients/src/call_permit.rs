//! What a call holds while in flight: a slot of the concurrency limit and the breaker's admission.
//! Both are released when the call ends or is dropped.

use std::time::Duration;

use tokio::time::Instant;

use crate::breaker::{Admitted, Breaker};
use crate::call_health::CallHealth;
use crate::concurrency::ConcurrencyLimit;
use crate::error::CallError;
use crate::tenant_key::TenantKey;

/// A timeout of a call with less time than this says nothing about the upstream.
const MIN_MEANINGFUL_TIME: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(crate) struct CallPermit<'a> {
    concurrency: &'a ConcurrencyLimit,
    breaker: &'a Breaker,
    tenant: TenantKey,
    admitted: Admitted,
    deadline: Instant,
    is_meaningful: bool,
    /// Start of the current attempt: the wait before a retry does not count as latency.
    attempt_started: Instant,
    health: Option<CallHealth>,
}

impl<'a> CallPermit<'a> {
    pub(crate) fn begin(
        concurrency: &'a ConcurrencyLimit,
        breaker: &'a Breaker,
        tenant: TenantKey,
        deadline: Instant,
        now: Instant,
    ) -> Result<Self, CallError> {
        if !concurrency.try_acquire(tenant) {
            return Err(CallError::ConcurrencyLimit);
        }
        let Some(admitted) = breaker.admit(tenant, now) else {
            concurrency.release(tenant, CallHealth::Unknown, now, now);
            return Err(CallError::BreakerOpen);
        };
        let is_meaningful = deadline.saturating_duration_since(now) >= MIN_MEANINGFUL_TIME;
        let health = None;
        Ok(Self {
            concurrency,
            breaker,
            tenant,
            admitted,
            deadline,
            is_meaningful,
            attempt_started: now,
            health,
        })
    }

    /// Starts the next attempt.
    pub(crate) fn restart_timing(&mut self, now: Instant) {
        self.attempt_started = now;
    }

    pub(crate) fn end(mut self, health: CallHealth) {
        self.health = Some(health);
    }
}

impl Drop for CallPermit<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        // Dropped at its deadline, it has waited as long as the call would have.
        let if_dropped =
            if now >= self.deadline { CallHealth::TimedOut } else { CallHealth::Unknown };
        let health = match self.health.unwrap_or(if_dropped) {
            CallHealth::TimedOut if !self.is_meaningful => CallHealth::Unknown,
            health => health,
        };
        self.concurrency.release(self.tenant, health, self.attempt_started, now);
        self.breaker.settle(self.tenant, &self.admitted, health, now);
    }
}
