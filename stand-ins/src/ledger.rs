//! What really happened: every effect once, and every request counted, so that a test can ask.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use contracts::id::{OperatorId, TenantId};
use contracts::upstream::Upstream;
use jiff::Timestamp;
use serde::Serialize;

/// The oldest are forgotten past this many.
const MOST_EFFECTS: usize = 100_000;
/// Requests to more different routes than this are counted together.
const MOST_ROUTES: usize = 10_000;

/// Something an upstream did that stays done.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Effect {
    #[serde(with = "contracts::clock::wire")]
    pub(crate) at: Timestamp,
    pub(crate) upstream: Upstream,
    pub(crate) tenant_id: TenantId,
    /// `token.issued`, `reservation.checked_in` …
    pub(crate) action: &'static str,
    /// Id of what was changed.
    pub(crate) subject: String,
    pub(crate) idempotency_key: Option<String>,
    /// Who asked for it. For audit alone.
    #[serde(skip)]
    pub(crate) operator_id: Option<OperatorId>,
}

#[derive(Debug, Serialize)]
pub(crate) struct RequestCount {
    pub(crate) upstream: Upstream,
    /// `GET /api/v1/alerts`
    pub(crate) route: String,
    pub(crate) count: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    effects: Mutex<VecDeque<Effect>>,
    requests: Mutex<BTreeMap<(Upstream, String), u64>>,
}

impl Ledger {
    pub(crate) fn note(&self, effect: Effect) {
        let mut effects = lock(&self.effects);
        if effects.len() == MOST_EFFECTS {
            effects.pop_front();
        }
        effects.push_back(effect);
    }

    /// In the order they happened.
    pub(crate) fn effects(&self, of: Option<Upstream>) -> Vec<Effect> {
        let effects = lock(&self.effects);
        effects.iter().filter(|effect| of.is_none_or(|of| of == effect.upstream)).cloned().collect()
    }

    pub(crate) fn count(&self, upstream: Upstream, route: &str) {
        let mut requests = lock(&self.requests);
        let known =
            requests.len() < MOST_ROUTES || requests.contains_key(&(upstream, route.to_owned()));
        let route = if known { route } else { "other" };
        *requests.entry((upstream, route.to_owned())).or_default() += 1;
    }

    pub(crate) fn requests(&self, of: Option<Upstream>) -> Vec<RequestCount> {
        let requests = lock(&self.requests);
        let wanted =
            requests.iter().filter(|((upstream, _), _)| of.is_none_or(|of| of == *upstream));
        wanted
            .map(|((upstream, route), count)| RequestCount {
                upstream: *upstream,
                route: route.clone(),
                count: *count,
            })
            .collect()
    }
}

/// A panic elsewhere leaves these plain collections whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
