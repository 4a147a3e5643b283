//! How many dashboards are composed at once. One that could not be finished in time is refused
//! at once, because it would make the others late, too.
//!
//! Nobody is told what the machine can do: the limit grows while dashboards keep their deadline and
//! shrinks when one does not (additive increase, multiplicative decrease). No tenant takes all of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use contracts::id::TenantId;
use foldhash::quality::RandomState;
use tokio::time::Instant;

/// An idle machine's timers are later than this only when it is stopped.
const LATE: Duration = Duration::from_millis(30);
const LEAST: f64 = 8.0;
const MOST: f64 = 1024.0;
const AT_FIRST: f64 = 384.0;
const SHRINK: f64 = 0.8;
/// After it has shrunk, what was admitted before says nothing about the new limit.
const REST: Duration = Duration::from_millis(500);
/// A tenant may hold up to this many times what is left free: alone two thirds of all places.
const SHARE: usize = 2;

#[derive(Debug, Clone)]
pub(crate) struct Load(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    composing: usize,
    /// Tenants with dashboards under way, so never more than the limit.
    by_tenant: HashMap<TenantId, usize, RandomState>,
    limit: f64,
    rest_until: Option<Instant>,
}

/// One dashboard's place; free again when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    load: Load,
    tenant: TenantId,
    deadline: Instant,
}

impl Load {
    pub(crate) fn new() -> Self {
        let state = State {
            composing: 0,
            by_tenant: HashMap::default(),
            limit: AT_FIRST,
            rest_until: None,
        };
        Self(Arc::new(Mutex::new(state)))
    }

    /// A place for a request that was let in at `admitted`; none when too many are under way, or
    /// too many of this tenant's. One whose time is over already has its place: what is kept can
    /// still be shown.
    pub(crate) fn enter(
        &self,
        tenant: TenantId,
        admitted: Instant,
        within: Duration,
    ) -> Option<Slot> {
        let slot = || Slot { load: self.clone(), tenant, deadline: admitted + within };
        self.with(|state| state.take_place(tenant)).then(slot)
    }

    /// Composed now, and at most.
    pub(crate) fn usage(&self) -> (usize, usize) {
        self.with(|state| (state.composing, state.limit as usize))
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn take_place(&mut self, tenant: TenantId) -> bool {
        let free = (self.limit as usize).saturating_sub(self.composing);
        let own = self.by_tenant.get(&tenant).copied().unwrap_or(0);
        let may = free > 0 && own < SHARE * free;
        if may {
            self.composing += 1;
            self.by_tenant.insert(tenant, own + 1);
        }
        may
    }

    fn leave_place(&mut self, tenant: TenantId) {
        self.composing -= 1;
        if let Some(own) = self.by_tenant.get_mut(&tenant) {
            *own -= 1;
            if *own == 0 {
                self.by_tenant.remove(&tenant);
            }
        }
    }

    fn shrink(&mut self) {
        let now = Instant::now();
        if self.rest_until.is_none_or(|until| until <= now) {
            self.limit = (self.limit * SHRINK).max(LEAST);
            self.rest_until = Some(now + REST);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let is_late = Instant::now() > self.deadline + LATE;
        self.load.with(|state| {
            state.leave_place(self.tenant);
            if is_late {
                state.shrink();
            } else {
                state.limit = (state.limit + 1.0 / state.limit).min(MOST);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const WITHIN: Duration = Duration::from_millis(550);

    fn tenant(number: u8) -> TenantId {
        format!("tnt_0000000000000000000000000{number}").parse().unwrap()
    }

    fn all_that_enter(load: &Load, tenant: TenantId) -> Vec<Slot> {
        std::iter::from_fn(|| load.enter(tenant, Instant::now(), WITHIN)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_and_no_more_until_one_has_left() {
        let load = Load::new();
        let mut inside = all_that_enter(&load, tenant(1));
        assert_eq!(inside.len(), 256, "two thirds");
        inside.pop();
        assert!(load.enter(tenant(1), Instant::now(), WITHIN).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_tenant_that_takes_all_it_gets_leaves_room_for_others() {
        let load = Load::new();
        let flood = all_that_enter(&load, tenant(1));
        let beside = all_that_enter(&load, tenant(2));
        assert!(
            beside.len() * 4 > flood.len(),
            "{} found room beside {}",
            beside.len(),
            flood.len()
        );
        assert!(load.enter(tenant(3), Instant::now(), WITHIN).is_some());
        drop((flood, beside));
        assert_eq!(load.usage().0, 0);
        assert!(load.with(|state| state.by_tenant.is_empty()));
    }

    #[tokio::test(start_paused = true)]
    async fn late_ones_make_room_smaller_and_punctual_ones_larger() {
        let load = Load::new();
        let inside = all_that_enter(&load, tenant(1));
        advance(WITHIN + LATE * 2).await;
        drop(inside);
        let (_, shrunk) = load.usage();
        assert_eq!(shrunk, (AT_FIRST * SHRINK) as usize, "one crowd shrinks it once");
        drop(all_that_enter(&load, tenant(1)));
        drop(all_that_enter(&load, tenant(1)));
        assert!(load.usage().1 > shrunk);
    }
}
