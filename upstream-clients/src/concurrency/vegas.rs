//! Adaptive limit: learns from latencies how many concurrent calls an upstream serves without
//! queueing. A gradient as in TCP Vegas and Netflix' concurrency-limits. Pure.
//!
//! Calls are counted in windows. A window is congested when its calls took more than twice the best
//! recent latency, and hangs when most of them timed out. Congestion affects every tenant, so
//! tenants are counted in groups and the fastest group decides: one tenant's slow calls cost the
//! others nothing.

use std::time::Duration;

use tokio::time::Instant;

use super::baseline::Baseline;
use crate::call_health::CallHealth;
use crate::tenant_key::TenantKey;

/// The limit never falls below this: enough to notice that the upstream has recovered.
const MIN_LIMIT: usize = 8;
/// Latency above this multiple of the best is congestion.
const CONGESTION_FACTOR: f64 = 2.0;
/// Latencies below this are never congestion.
const LATENCY_FLOOR: Duration = Duration::from_millis(10);
/// A window ends after this many calls and `MIN_WINDOW`, or after `MAX_WINDOW`.
const MIN_WINDOW_CALLS: u32 = 10;
const MIN_WINDOW: Duration = Duration::from_millis(100);
const MAX_WINDOW: Duration = Duration::from_secs(1);
const GROUPS: usize = 8;

#[derive(Debug)]
pub(super) struct VegasLimit {
    limit: f64,
    floor: f64,
    ceiling: f64,
    /// The limit before the upstream hung, restored quickly after recovery.
    limit_before_hang: Option<f64>,
    baseline: Baseline,
    window: Window,
}

impl VegasLimit {
    /// Starts at the ceiling: an upstream is healthy until it shows otherwise.
    pub(super) fn new(ceiling: usize, now: Instant) -> Self {
        Self {
            limit: ceiling as f64,
            floor: MIN_LIMIT.min(ceiling) as f64,
            ceiling: ceiling as f64,
            limit_before_hang: None,
            baseline: Baseline::new(now),
            window: Window::new(now),
        }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit as usize
    }

    /// Records the start of a call.
    pub(super) fn began(&mut self, in_flight: usize) {
        self.window.peak = self.window.peak.max(in_flight);
    }

    /// Records the end of a call. Only responses and timeouts say how busy an upstream is.
    pub(super) fn ended(
        &mut self,
        tenant: TenantKey,
        health: CallHealth,
        took: Duration,
        now: Instant,
    ) {
        let is_late = match health {
            CallHealth::Responsive => false,
            CallHealth::TimedOut => true,
            CallHealth::Failed | CallHealth::Unknown => return,
        };
        self.window.add(tenant, took, is_late);
        if self.window.is_over(now) {
            let window = std::mem::replace(&mut self.window, Window::new(now));
            self.update(&window, now);
        }
    }

    fn update(&mut self, window: &Window, now: Instant) {
        if window.hangs() {
            self.limit_before_hang.get_or_insert(self.limit);
            self.limit /= 2.0;
        } else {
            let took = window.latency();
            let best = self.baseline.best(took, now).max(LATENCY_FLOOR);
            let gradient = CONGESTION_FACTOR * best.as_secs_f64() / took.as_secs_f64().max(1e-6);
            // A limit that is not used says nothing about the right limit.
            let is_used = window.peak as f64 * 2.0 >= self.limit;
            self.apply_gradient(gradient, is_used);
        }
        self.limit = self.limit.clamp(self.floor, self.ceiling);
    }

    fn apply_gradient(&mut self, gradient: f64, is_used: bool) {
        if is_used && gradient < 1.0 {
            self.limit *= gradient.max(0.5);
            self.limit_before_hang = None;
        } else if let Some(before) = self.limit_before_hang {
            self.limit = before.min(self.limit * 2.0);
            self.limit_before_hang = (self.limit < before).then_some(before);
        } else if is_used {
            self.limit += self.limit.sqrt();
        }
    }
}

#[derive(Debug)]
struct Window {
    since: Instant,
    calls: u32,
    /// Most calls in flight at once.
    peak: usize,
    groups: [Group; GROUPS],
}

#[derive(Debug, Default, Clone, Copy)]
struct Group {
    calls: u32,
    late: u32,
    took: Duration,
}

impl Window {
    fn new(now: Instant) -> Self {
        Self { since: now, calls: 0, peak: 0, groups: Default::default() }
    }

    fn add(&mut self, tenant: TenantKey, took: Duration, is_late: bool) {
        self.calls += 1;
        let group = &mut self.groups[tenant.group(GROUPS)];
        group.calls += 1;
        group.late += u32::from(is_late);
        group.took += took;
    }

    fn is_over(&self, now: Instant) -> bool {
        let age = now.saturating_duration_since(self.since);
        (age >= MIN_WINDOW && self.calls >= MIN_WINDOW_CALLS) || age >= MAX_WINDOW
    }

    fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter().filter(|group| group.calls > 0)
    }

    /// Whether most calls of every group timed out.
    fn hangs(&self) -> bool {
        self.groups().all(|group| group.late * 2 > group.calls)
    }

    /// The mean latency of the fastest group.
    fn latency(&self) -> Duration {
        self.groups().map(|group| group.took / group.calls).min().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
