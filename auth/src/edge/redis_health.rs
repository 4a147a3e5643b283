//! Adapts the timeout of session store calls to the store's health.
//!
//! A healthy store is waited for up to [`SILENCE_LIMIT`], so that one late reply does not make an
//! instance fall back to its local replay store: that one does not know the proofs used elsewhere,
//! and an attacker could slow an instance down to replay one (GD-3).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Timeout per call while the store is down.
const UNRESPONSIVE_TIMEOUT: Duration = Duration::from_millis(100);
/// The store counts as down once it has not replied for this long.
const SILENCE_LIMIT: Duration = Duration::from_secs(1);
/// No call waits for a reply.
const NOTHING_PENDING: u64 = u64::MAX;

/// Tracks since when the store has not replied.
#[derive(Debug)]
pub(super) struct RedisHealth {
    begun: Instant,
    /// Start of the first call after the last reply, in milliseconds after `begun`.
    silent_since: AtomicU64,
    unresponsive_timeout: Duration,
}

impl RedisHealth {
    pub(super) fn new() -> Self {
        let silent_since = AtomicU64::new(NOTHING_PENDING);
        Self { begun: Instant::now(), silent_since, unresponsive_timeout: UNRESPONSIVE_TIMEOUT }
    }

    /// Sets the timeout for a store that is down.
    pub(super) fn with_unresponsive_timeout(self, unresponsive_timeout: Duration) -> Self {
        Self { unresponsive_timeout, ..self }
    }

    /// Starts a call.
    pub(super) fn begin(&self) -> PendingReply<'_> {
        let now = Instant::now();
        let started = (now - self.begun).as_millis() as u64;
        let first = self.silent_since.fetch_min(started, Ordering::Relaxed).min(started);
        let late = self.begun + Duration::from_millis(first) + SILENCE_LIMIT;
        PendingReply { health: self, started, deadline: late.max(now + self.unresponsive_timeout) }
    }
}

/// A call in progress. Dropping it (its caller was cancelled) says nothing about the store.
#[derive(Debug)]
pub(super) struct PendingReply<'a> {
    health: &'a RedisHealth,
    started: u64,
    pub(super) deadline: Instant,
}

impl PendingReply<'_> {
    pub(super) fn received(self) {
        self.health.silent_since.store(NOTHING_PENDING, Ordering::Relaxed);
    }

    pub(super) fn failed(self) {
        std::mem::forget(self);
    }
}

impl Drop for PendingReply<'_> {
    fn drop(&mut self) {
        let since = &self.health.silent_since;
        // Clears only what this call set; losing the race to another call is fine.
        let _ = since.compare_exchange(
            self.started,
            NOTHING_PENDING,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_store_is_waited_for_until_it_has_been_silent_for_long() {
        let (health, pass) = (RedisHealth::new(), tokio::time::advance);
        let wait = || {
            let reply = health.begin();
            let until = reply.deadline;
            reply.failed();
            until - Instant::now()
        };
        pass(Duration::from_mins(1)).await;
        assert_eq!(wait(), SILENCE_LIMIT, "no call for a minute");
        pass(Duration::from_millis(600)).await;
        assert_eq!(wait(), Duration::from_millis(400));
        pass(Duration::from_mins(1)).await;
        assert_eq!(wait(), UNRESPONSIVE_TIMEOUT, "down");
        health.begin().received();
        assert_eq!(wait(), SILENCE_LIMIT, "up again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancelled_call_does_not_count_as_silence() {
        let health = RedisHealth::new();
        drop(health.begin());
        tokio::time::advance(Duration::from_mins(1)).await;
        assert_eq!(health.begin().deadline - Instant::now(), SILENCE_LIMIT);
    }
}
