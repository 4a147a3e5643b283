//! Records every effect of the stand-ins and counts requests, for tests, drills and audit.

use std::collections::{BTreeMap, VecDeque};

use contracts::clock::wire;
use contracts::id::{OperatorId, TenantId};
use contracts::upstream::Upstream;
use parking_lot::Mutex;
use serde::Serialize;

/// Effects kept; the oldest are dropped first.
const MAX_EFFECTS: usize = 100_000;
/// Routes counted one by one; requests to any more are counted as `other`.
const MAX_COUNTED_ROUTES: usize = 10_000;

/// A lasting change made by an upstream.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Effect {
    pub(crate) at: wire::Timestamp,
    pub(crate) upstream: Upstream,
    pub(crate) tenant_id: TenantId,
    /// `token.issued`, `reservation.checked_in` …
    pub(crate) action: &'static str,
    /// Id of the changed resource.
    pub(crate) subject: String,
    pub(crate) idempotency_key: Option<String>,
    /// Who requested it; only for audit.
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
pub(crate) struct Effects {
    effects: Mutex<VecDeque<Effect>>,
    requests: Mutex<BTreeMap<(Upstream, String), u64>>,
}

impl Effects {
    pub(crate) fn record(&self, effect: Effect) {
        let mut effects = self.effects.lock();
        if effects.len() == MAX_EFFECTS {
            effects.pop_front();
        }
        effects.push_back(effect);
    }

    /// The effects of an upstream, or all, in order.
    pub(crate) fn effects(&self, of: Option<Upstream>) -> Vec<Effect> {
        let effects = self.effects.lock();
        effects.iter().filter(|effect| of.is_none_or(|of| of == effect.upstream)).cloned().collect()
    }

    pub(crate) fn count(&self, upstream: Upstream, route: &str) {
        let mut requests = self.requests.lock();
        let known = requests.len() < MAX_COUNTED_ROUTES
            || requests.contains_key(&(upstream, route.to_owned()));
        let route = if known { route } else { "other" };
        *requests.entry((upstream, route.to_owned())).or_default() += 1;
    }

    pub(crate) fn requests(&self, of: Option<Upstream>) -> Vec<RequestCount> {
        let requests = self.requests.lock();
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
