//! How many calls at once an upstream serves without making them wait, learned from how long
//! they take: a gradient on latency, as in TCP Vegas and Netflix' concurrency-limits. Pure.
//!
//! Calls are counted in windows. A window is congested when its calls took more than twice what
//! they took at best of late, and hangs when most of them ended at their deadline. Congestion is
//! what every caller feels: callers are counted in groups, and the group that waits least speaks
//! for the window. A tenant whose own calls are slow takes nothing from the others.

use std::time::Duration;

use tokio::time::Instant;

use super::baseline::Baseline;
use crate::caller::{Caller, Verdict};

/// Where a limit never falls below: enough to notice that the upstream is well again.
const FLOOR: usize = 8;
/// Latency above this multiple of the best is congestion.
const TOLERANCE: f64 = 2.0;
/// Faster than this is fast: noise below it is not congestion.
const FAST: Duration = Duration::from_millis(10);
/// A window's calls at least, and its length; a quiet upstream's window ends after the longest.
const CALLS: u32 = 10;
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(1);
const GROUPS: usize = 8;

#[derive(Debug)]
pub(super) struct Estimate {
    limit: f64,
    floor: f64,
    ceiling: f64,
    /// What it was before the upstream hung: that much it may have again without proving it anew.
    before_hang: Option<f64>,
    baseline: Baseline,
    window: Window,
}

impl Estimate {
    /// Begins at the ceiling: an upstream is well until it shows otherwise.
    pub(super) fn new(ceiling: usize, now: Instant) -> Self {
        Self {
            limit: ceiling as f64,
            floor: FLOOR.min(ceiling) as f64,
            ceiling: ceiling as f64,
            before_hang: None,
            baseline: Baseline::new(now),
            window: Window::new(now),
        }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit as usize
    }

    /// A call began, with which so many are under way.
    pub(super) fn began(&mut self, in_flight: usize) {
        self.window.peak = self.window.peak.max(in_flight);
    }

    /// A call ended that took so long. Only answers and waits in vain say how busy an upstream is.
    pub(super) fn ended(&mut self, caller: Caller, verdict: Verdict, took: Duration, now: Instant) {
        let is_late = match verdict {
            Verdict::Answers => false,
            Verdict::Late => true,
            Verdict::Fails | Verdict::Nothing => return,
        };
        self.window.add(caller, took, is_late);
        if self.window.is_over(now) {
            let window = std::mem::replace(&mut self.window, Window::new(now));
            self.learn(&window, now);
        }
    }

    fn learn(&mut self, window: &Window, now: Instant) {
        if window.hangs() {
            self.before_hang.get_or_insert(self.limit);
            self.limit /= 2.0;
        } else {
            let took = window.latency();
            let usual = self.baseline.best(took, now).max(FAST);
            let gradient = TOLERANCE * usual.as_secs_f64() / took.as_secs_f64().max(1e-6);
            // What is not used says nothing about what is too much or too little.
            let is_used = window.peak as f64 * 2.0 >= self.limit;
            self.follow(gradient, is_used);
        }
        self.limit = self.limit.clamp(self.floor, self.ceiling);
    }

    fn follow(&mut self, gradient: f64, is_used: bool) {
        if is_used && gradient < 1.0 {
            self.limit *= gradient.max(0.5);
            self.before_hang = None;
        } else if let Some(before) = self.before_hang {
            self.limit = before.min(self.limit * 2.0);
            self.before_hang = (self.limit < before).then_some(before);
        } else if is_used {
            self.limit += self.limit.sqrt();
        }
    }
}

/// The calls that ended of late.
#[derive(Debug)]
struct Window {
    since: Instant,
    calls: u32,
    /// Most calls under way at once.
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

    fn add(&mut self, caller: Caller, took: Duration, is_late: bool) {
        self.calls += 1;
        let group = &mut self.groups[caller.group(GROUPS)];
        group.calls += 1;
        group.late += u32::from(is_late);
        group.took += took;
    }

    fn is_over(&self, now: Instant) -> bool {
        let age = now.saturating_duration_since(self.since);
        (age >= SHORTEST && self.calls >= CALLS) || age >= LONGEST
    }

    fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter().filter(|group| group.calls > 0)
    }

    /// Whether every group waited in vain for most of its calls.
    fn hangs(&self) -> bool {
        self.groups().all(|group| group.late * 2 > group.calls)
    }

    /// The mean of the group that waits least.
    fn latency(&self) -> Duration {
        self.groups().map(|group| group.took / group.calls).min().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
