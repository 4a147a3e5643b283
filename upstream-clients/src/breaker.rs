//! Circuit breaker: stops calls to an upstream that keeps failing, then lets a few probes through;
//! one that succeeds closes it again.
//!
//! There is one breaker per tenant and one shared by all. A tenant's own failures open its own
//! breaker. The shared one opens when calls fail for most tenants: a tenant whose calls always fail
//! then blocks nobody else, and a quiet tenant need not find out by its own failures.

mod history;
mod state;

use std::collections::HashMap;
use std::time::Duration;

use contracts::safeguard;
use foldhash::quality::RandomState;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::call_health::CallHealth;
use crate::tenant_key::TenantKey;
use history::History;
pub(crate) use state::BreakerPosition;
use state::{BreakerState, Permission};

/// Concurrent probes of the shared breaker; a tenant's own has one.
const SHARED_PROBES: u32 = 3;
/// Tenants with a breaker of their own. Further ones only have the shared breaker.
const MAX_TENANTS: usize = 128;
/// A tenant without failures for this long is forgotten.
const TENANT_MEMORY: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Breaker(Mutex<State>);

#[derive(Debug)]
struct State {
    shared: BreakerState,
    history: History,
    /// Tenants that failed recently; a successful call adds no entry.
    by_tenant: HashMap<TenantKey, Box<TenantBreaker>, RandomState>,
    swept_at: Instant,
}

#[derive(Debug)]
struct TenantBreaker {
    state: BreakerState,
    history: History,
    last_failure: Instant,
}

impl TenantBreaker {
    fn new(history: History, now: Instant) -> Box<Self> {
        Box::new(Self { state: BreakerState::new(1), history, last_failure: now })
    }
}

/// Permission for one call; must be passed to [`Breaker::settle`].
#[derive(Debug)]
pub(crate) struct Admitted {
    shared: Permission,
    own: Permission,
}

/// The state of all breakers of an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BreakerSummary {
    /// The worst of all positions.
    pub(crate) position: BreakerPosition,
    /// Tenants blocked by their own breaker.
    pub(crate) open_tenants: usize,
}

impl Breaker {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self(Mutex::new(State {
            shared: BreakerState::new(SHARED_PROBES),
            history: History::new(now),
            by_tenant: HashMap::default(),
            swept_at: now,
        }))
    }

    /// Admits a call, if all breakers allow it now.
    pub(crate) fn admit(&self, tenant: TenantKey, now: Instant) -> Option<Admitted> {
        let admitted = self.0.lock().admit(tenant, now);
        let unguarded = Admitted { shared: Permission::Normal, own: Permission::Normal };
        admitted.or_else(|| (!safeguard!(CircuitBreaker)).then_some(unguarded))
    }

    pub(crate) fn settle(
        &self,
        tenant: TenantKey,
        admitted: &Admitted,
        health: CallHealth,
        now: Instant,
    ) {
        self.0.lock().settle(tenant, admitted, health, now);
    }

    pub(crate) fn summary(&self) -> BreakerSummary {
        let state = self.0.lock();
        let open = state.by_tenant.values().filter(|own| !own.state.is_closed());
        let own = state.by_tenant.values().map(|own| own.state.position());
        BreakerSummary {
            position: own.fold(state.shared.position(), Ord::max),
            open_tenants: open.count(),
        }
    }
}

impl State {
    fn admit(&mut self, tenant: TenantKey, now: Instant) -> Option<Admitted> {
        let own = match self.by_tenant.get_mut(&tenant) {
            Some(breaker) => breaker.state.admit(tenant.bit(), now)?,
            None => Permission::Normal,
        };
        if let Some(shared) = self.shared.admit(tenant.bit(), now) {
            return Some(Admitted { shared, own });
        }
        if let Some(breaker) = self.by_tenant.get_mut(&tenant) {
            breaker.state.settle(own, CallHealth::Unknown, now);
        }
        None
    }

    fn settle(&mut self, tenant: TenantKey, admitted: &Admitted, health: CallHealth, now: Instant) {
        if self.shared.settle(admitted.shared, health, now) {
            self.history = History::new(now);
        }
        if let Some(own) = self.by_tenant.get_mut(&tenant)
            && own.state.settle(admitted.own, health, now)
        {
            own.history = History::new(now);
        }
        match health {
            CallHealth::Responsive => self.responded(tenant, now),
            CallHealth::TimedOut | CallHealth::Failed => self.failed(tenant, now),
            CallHealth::Unknown => {}
        }
        if !self.by_tenant.is_empty()
            && now.saturating_duration_since(self.swept_at) >= TENANT_MEMORY / 10
        {
            self.sweep(now);
        }
    }

    fn responded(&mut self, tenant: TenantKey, now: Instant) {
        self.history.responded(tenant.bit(), now);
        if let Some(own) = self.by_tenant.get_mut(&tenant) {
            own.history.responded(tenant.bit(), now);
        }
    }

    fn failed(&mut self, tenant: TenantKey, now: Instant) {
        self.history.failed(tenant.bit(), now);
        if self.shared.is_closed() && self.history.fails_for_most_tenants(now) {
            self.shared.open(now);
        }
        if self.by_tenant.len() >= MAX_TENANTS && !self.by_tenant.contains_key(&tenant) {
            return;
        }
        let own = self.by_tenant.entry(tenant).or_insert_with(|| {
            // Its successful calls were not counted.
            let was_healthy = self.history.has_responded(tenant.bit(), now);
            TenantBreaker::new(
                if was_healthy { History::new(now) } else { History::without_success(now) },
                now,
            )
        });
        own.last_failure = now;
        own.history.failed(tenant.bit(), now);
        if own.state.is_closed() && own.history.fails_mostly(now) {
            own.state.open(now);
        }
    }

    fn sweep(&mut self, now: Instant) {
        let is_recent = |at: Instant| now.saturating_duration_since(at) < TENANT_MEMORY;
        self.by_tenant
            .retain(|_, own| own.state.outstanding_probes() > 0 || is_recent(own.last_failure));
        self.swept_at = now;
    }
}

#[cfg(test)]
mod tests;
