//! What the composer says of itself, for people: each widget's last outcome, its latency, and how
//! often the cache had it.

use std::time::Duration;

use serde::Serialize;

use crate::compose::Composer;
use crate::snapshots::CacheCounts;
use crate::widgets::{WIDGETS, WidgetSpec};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WidgetReport {
    pub widget: &'static str,
    pub source: &'static str,
    pub deadline_ms: u64,
    pub fresh_seconds: u64,
    pub stale_seconds: u64,
    /// Absent before the first time it was shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<LastOutcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    pub cache: CacheCounts,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hit_ratio: Option<f64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LastOutcome {
    /// `ok`, `stale`, or the reason as the dashboard names it.
    pub outcome: &'static str,
    pub seconds_ago: u64,
}

/// Of the last few hundred, cached ones included.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    pub p50_ms: f64,
    pub p95_ms: f64,
    pub p99_ms: f64,
    /// How many these are taken of.
    pub samples: usize,
}

impl Latency {
    /// Nothing of nothing.
    pub(crate) fn of(mut waits: Vec<Duration>) -> Option<Self> {
        waits.sort_unstable();
        let last = waits.len().checked_sub(1)?;
        let at = |share: f64| {
            let place = (last as f64 * share).round() as usize;
            (waits[place].as_secs_f64() * 1e5).round() / 100.0
        };
        Some(Self { p50_ms: at(0.5), p95_ms: at(0.95), p99_ms: at(0.99), samples: waits.len() })
    }
}

impl Composer {
    /// In the order of the table.
    pub fn report(&self) -> Vec<WidgetReport> {
        WIDGETS.iter().map(|spec| self.report_of(spec)).collect()
    }

    fn report_of(&self, spec: &'static WidgetSpec) -> WidgetReport {
        let (last, latency) = self.meters().recent(spec);
        let cache = self.snapshots().counts(spec.rule);
        WidgetReport {
            widget: spec.name,
            source: spec.source(),
            deadline_ms: spec.rule.deadline.as_millis() as u64,
            fresh_seconds: spec.rule.fresh.as_secs(),
            stale_seconds: spec.rule.stale.as_secs(),
            last,
            latency,
            cache,
            hit_ratio: cache.hit_ratio().map(|ratio| (ratio * 1000.0).round() / 1000.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_sorted_waits() {
        assert_eq!(Latency::of(Vec::new()), None);
        let waits = (1..=101).rev().map(Duration::from_millis).collect();
        let latency = Latency { p50_ms: 51.0, p95_ms: 96.0, p99_ms: 100.0, samples: 101 };
        assert_eq!(Latency::of(waits), Some(latency));
    }
}
