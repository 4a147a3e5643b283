//! Admission control: limits how many dashboards are composed concurrently. Refuses one that could
//! not be composed in time, because it would delay the others, too.
//!
//! The limit adapts: it grows while dashboards meet their deadline and shrinks when one does not
//! (additive increase, multiplicative decrease). It is shared so that no tenant takes all of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use contracts::id::TenantId;
use foldhash::quality::RandomState;
use parking_lot::Mutex;
use tokio::time::Instant;

/// Timers of a machine that is not overloaded are less late than this.
const LATENESS_TOLERANCE: Duration = Duration::from_millis(30);
const MIN_LIMIT: f64 = 8.0;
const MAX_LIMIT: f64 = 1024.0;
const INITIAL_LIMIT: f64 = 384.0;
const DECREASE_FACTOR: f64 = 0.8;
/// After a decrease, dashboards admitted before say nothing about the new limit.
const COOLDOWN: Duration = Duration::from_millis(500);
/// A tenant may hold this many times the free slots: alone, two thirds of the limit.
const TENANT_SHARE: usize = 2;

#[derive(Debug, Clone)]
pub(crate) struct ConcurrencyLimit(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    in_flight: usize,
    /// Tenants with dashboards in flight, so never more than the limit.
    by_tenant: HashMap<TenantId, usize, RandomState>,
    limit: f64,
    cooldown_until: Option<Instant>,
}

/// A slot for one dashboard, released when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    limiter: ConcurrencyLimit,
    tenant: TenantId,
    deadline: Instant,
}

impl ConcurrencyLimit {
    pub(crate) fn new() -> Self {
        let state = State {
            in_flight: 0,
            by_tenant: HashMap::default(),
            limit: INITIAL_LIMIT,
            cooldown_until: None,
        };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Returns a permit for a request received at `admitted`, unless too many dashboards are in
    /// flight in total or for this tenant. A request past its deadline gets one, too: it can still
    /// show snapshots.
    pub(crate) fn try_acquire(
        &self,
        tenant: TenantId,
        admitted: Instant,
        route_deadline: Duration,
    ) -> Option<Permit> {
        let permit =
            || Permit { limiter: self.clone(), tenant, deadline: admitted + route_deadline };
        self.0.lock().admit(tenant).then(permit)
    }

    /// Dashboards in flight, and the limit.
    pub(crate) fn usage(&self) -> (usize, usize) {
        let state = self.0.lock();
        (state.in_flight, state.limit as usize)
    }
}

impl State {
    fn admit(&mut self, tenant: TenantId) -> bool {
        let free = (self.limit as usize).saturating_sub(self.in_flight);
        let own = self.by_tenant.get(&tenant).copied().unwrap_or(0);
        let is_allowed = free > 0 && own < TENANT_SHARE * free;
        if is_allowed {
            self.in_flight += 1;
            self.by_tenant.insert(tenant, own + 1);
        }
        is_allowed
    }

    fn release(&mut self, tenant: TenantId) {
        self.in_flight -= 1;
        if let Some(own) = self.by_tenant.get_mut(&tenant) {
            *own -= 1;
            if *own == 0 {
                self.by_tenant.remove(&tenant);
            }
        }
    }

    fn shrink(&mut self) {
        let now = Instant::now();
        if self.cooldown_until.is_none_or(|until| until <= now) {
            self.limit = (self.limit * DECREASE_FACTOR).max(MIN_LIMIT);
            self.cooldown_until = Some(now + COOLDOWN);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let is_late = Instant::now() > self.deadline + LATENESS_TOLERANCE;
        let mut state = self.limiter.0.lock();
        state.release(self.tenant);
        if is_late {
            state.shrink();
        } else {
            state.limit = (state.limit + 1.0 / state.limit).min(MAX_LIMIT);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const ROUTE_DEADLINE: Duration = Duration::from_millis(550);

    fn tenant(number: u8) -> TenantId {
        format!("tnt_0000000000000000000000000{number}").parse().unwrap()
    }

    fn acquire_all(limiter: &ConcurrencyLimit, tenant: TenantId) -> Vec<Permit> {
        std::iter::from_fn(|| limiter.try_acquire(tenant, Instant::now(), ROUTE_DEADLINE)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_limit_holds_until_a_permit_is_released() {
        let limiter = ConcurrencyLimit::new();
        let mut permits = acquire_all(&limiter, tenant(1));
        assert_eq!(permits.len(), 256, "two thirds");
        permits.pop();
        assert!(limiter.try_acquire(tenant(1), Instant::now(), ROUTE_DEADLINE).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_greedy_tenant_leaves_room_for_others() {
        let limiter = ConcurrencyLimit::new();
        let flood = acquire_all(&limiter, tenant(1));
        let other = acquire_all(&limiter, tenant(2));
        assert!(
            other.len() * 4 > flood.len(),
            "{} found room next to {}",
            other.len(),
            flood.len()
        );
        assert!(limiter.try_acquire(tenant(3), Instant::now(), ROUTE_DEADLINE).is_some());
        drop((flood, other));
        assert_eq!(limiter.usage().0, 0);
        assert!(limiter.0.lock().by_tenant.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn missed_deadlines_shrink_the_limit_and_met_ones_grow_it() {
        let limiter = ConcurrencyLimit::new();
        let permits = acquire_all(&limiter, tenant(1));
        advance(ROUTE_DEADLINE + LATENESS_TOLERANCE * 2).await;
        drop(permits);
        let (_, shrunk) = limiter.usage();
        assert_eq!(shrunk, (INITIAL_LIMIT * DECREASE_FACTOR) as usize, "one crowd shrinks it once");
        drop(acquire_all(&limiter, tenant(1)));
        drop(acquire_all(&limiter, tenant(1)));
        assert!(limiter.usage().1 > shrunk);
    }
}
