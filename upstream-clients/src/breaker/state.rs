//! The state machine of one breaker: closed, open, half-open. Pure; the caller decides when calls
//! fail too often.

use std::time::Duration;

use tokio::time::Instant;

use crate::call_health::CallHealth;

/// Time before an open breaker lets probes through.
pub(super) const OPEN_DURATION: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct BreakerState {
    phase: Phase,
    /// Concurrent probes when half-open, each of another tenant: a tenant whose calls always fail
    /// must not decide for all.
    probes: u32,
    /// Counts half-open phases; a probe of an earlier one is ignored.
    round: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Closed,
    Open {
        until: Instant,
    },
    HalfOpen {
        /// Tenants that sent a probe, as bits.
        probed: u64,
        /// Probes without an outcome.
        outstanding: u32,
    },
}

/// How a call was admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a probe must be settled"]
pub(super) enum Permission {
    Normal,
    Probe { round: u32, tenant: u64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr)]
#[strum(const_into_str, serialize_all = "kebab-case")]
pub(crate) enum BreakerPosition {
    Closed,
    HalfOpen,
    Open,
}

impl BreakerState {
    pub(super) fn new(probes: u32) -> Self {
        Self { phase: Phase::Closed, probes, round: 0 }
    }

    pub(super) fn admit(&mut self, tenant: u64, now: Instant) -> Option<Permission> {
        if let Phase::Open { until } = self.phase
            && now >= until
        {
            self.round += 1;
            self.phase = Phase::HalfOpen { probed: 0, outstanding: 0 };
        }
        match &mut self.phase {
            Phase::Closed => Some(Permission::Normal),
            Phase::Open { .. } => None,
            Phase::HalfOpen { probed, outstanding } => {
                let is_allowed = probed.count_ones() < self.probes && *probed & tenant == 0;
                is_allowed.then(|| {
                    *probed |= tenant;
                    *outstanding += 1;
                    Permission::Probe { round: self.round, tenant }
                })
            }
        }
    }

    /// Records a probe's outcome. Returns whether that closed the breaker.
    pub(super) fn settle(
        &mut self,
        permission: Permission,
        health: CallHealth,
        now: Instant,
    ) -> bool {
        let Permission::Probe { round, tenant } = permission else { return false };
        if round != self.round {
            return false;
        }
        let Phase::HalfOpen { probed, outstanding } = &mut self.phase else { return false };
        *outstanding -= 1;
        match health {
            CallHealth::Responsive => {
                self.phase = Phase::Closed;
                return true;
            }
            CallHealth::Unknown => *probed &= !tenant,
            CallHealth::TimedOut | CallHealth::Failed => {}
        }
        if *outstanding == 0 && *probed != 0 {
            self.open(now);
        }
        false
    }

    /// Opens the breaker.
    pub(super) fn open(&mut self, now: Instant) {
        self.phase = Phase::Open { until: now + OPEN_DURATION };
    }

    pub(super) fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// Probes without an outcome.
    pub(super) fn outstanding_probes(&self) -> u32 {
        if let Phase::HalfOpen { outstanding, .. } = self.phase { outstanding } else { 0 }
    }

    pub(super) fn position(&self) -> BreakerPosition {
        match self.phase {
            Phase::Closed => BreakerPosition::Closed,
            Phase::HalfOpen { .. } => BreakerPosition::HalfOpen,
            Phase::Open { .. } => BreakerPosition::Open,
        }
    }
}
