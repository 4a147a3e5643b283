//! Concurrency limit of one upstream: adapts to what the upstream can bear and is shared so that no
//! tenant takes all of it. Calls above it are refused, never queued.

mod baseline;
mod vegas;

use std::collections::HashMap;

use foldhash::quality::RandomState;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::call_health::CallHealth;
use crate::tenant_key::TenantKey;
use vegas::VegasLimit;

/// A tenant may hold this many times the free slots: two thirds of the limit if alone, two fifths
/// each for two greedy tenants. There is always room for another.
const TENANT_SHARE: usize = 2;

#[derive(Debug)]
pub(crate) struct ConcurrencyLimit(Mutex<State>);

#[derive(Debug)]
struct State {
    vegas: VegasLimit,
    in_flight: usize,
    /// Tenants with calls in flight, so never more than the limit.
    by_tenant: HashMap<TenantKey, usize, RandomState>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) limit: usize,
    pub(crate) in_flight: usize,
}

impl ConcurrencyLimit {
    pub(crate) fn new(ceiling: usize) -> Self {
        let vegas = VegasLimit::new(ceiling, Instant::now());
        Self(Mutex::new(State { vegas, in_flight: 0, by_tenant: HashMap::default() }))
    }

    /// Takes a slot, if the tenant may make one more call now. It must be released.
    pub(crate) fn try_acquire(&self, tenant: TenantKey) -> bool {
        let state = &mut *self.0.lock();
        let free = state.vegas.limit().saturating_sub(state.in_flight);
        let own = state.by_tenant.entry(tenant).or_default();
        let is_allowed = free > 0 && *own < TENANT_SHARE * free;
        if is_allowed {
            *own += 1;
            state.in_flight += 1;
            state.vegas.began(state.in_flight);
        } else if *own == 0 {
            state.by_tenant.remove(&tenant);
        }
        is_allowed
    }

    /// Releases the slot of a call that began at `started`.
    pub(crate) fn release(
        &self,
        tenant: TenantKey,
        health: CallHealth,
        started: Instant,
        now: Instant,
    ) {
        let state = &mut *self.0.lock();
        state.in_flight -= 1;
        if let Some(own) = state.by_tenant.get_mut(&tenant) {
            *own -= 1;
            if *own == 0 {
                state.by_tenant.remove(&tenant);
            }
        }
        state.vegas.ended(tenant, health, now.saturating_duration_since(started), now);
    }

    pub(crate) fn usage(&self) -> Usage {
        let state = self.0.lock();
        Usage { limit: state.vegas.limit(), in_flight: state.in_flight }
    }
}

#[cfg(test)]
mod tests;
