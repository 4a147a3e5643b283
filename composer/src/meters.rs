//! Outcomes and latencies of widgets and dashboards, as metrics and for [`crate::diagnostics`].

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use contracts::dashboard::WidgetStatus;
use metrics::{Counter, Histogram, counter, histogram};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::Instant;

use crate::result::WidgetResult;
use crate::widgets::{WIDGETS, WidgetSpec};

/// Latencies kept per widget, for percentiles.
const LATENCY_SAMPLES: usize = 512;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LastOutcome {
    /// `ok`, `stale`, or the dashboard's reason code.
    pub outcome: &'static str,
    pub seconds_ago: u64,
}

/// Of the last few hundred reads, cached ones included.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    pub p50_ms: f64,
    pub p95_ms: f64,
    pub p99_ms: f64,
    /// Number of latencies the percentiles are computed from.
    pub samples: usize,
}

impl Latency {
    /// `None` without samples.
    pub(crate) fn of(mut waits: Vec<Duration>) -> Option<Self> {
        waits.sort_unstable();
        let last = waits.len().checked_sub(1)?;
        let at = |share: f64| {
            let index = (last as f64 * share).round() as usize;
            (waits[index].as_secs_f64() * 1e5).round() / 100.0
        };
        Some(Self { p50_ms: at(0.5), p95_ms: at(0.95), p99_ms: at(0.99), samples: waits.len() })
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Meters(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// In the order of [`WIDGETS`].
    widgets: Vec<WidgetMeters>,
    partial: OnceLock<Counter>,
}

#[derive(Debug, Default)]
struct WidgetMeters {
    metrics: OnceLock<(Counter, Histogram)>,
    recent: Mutex<RecentReads>,
}

#[derive(Debug, Default)]
struct RecentReads {
    last: Option<(&'static str, Instant)>,
    /// The last latencies, unordered.
    waits: Vec<Duration>,
    /// Index of the next one.
    next: usize,
}

impl RecentReads {
    fn record(&mut self, outcome: &'static str, took: Duration) {
        self.last = Some((outcome, Instant::now()));
        if self.waits.len() < LATENCY_SAMPLES {
            self.waits.push(took);
        } else {
            self.waits[self.next] = took;
        }
        self.next = (self.next + 1) % LATENCY_SAMPLES;
    }
}

impl WidgetMeters {
    fn metrics(&self, name: &'static str) -> &(Counter, Histogram) {
        self.metrics.get_or_init(|| {
            let total =
                counter!("bff_backoffice_widget_total", "widget" => name, "outcome" => "ok");
            (total, histogram!("bff_backoffice_widget_duration_seconds", "widget" => name))
        })
    }
}

impl Meters {
    pub(crate) fn new() -> Self {
        let widgets = WIDGETS.iter().map(|_| WidgetMeters::default()).collect();
        Self(Arc::new(Inner { widgets, partial: OnceLock::new() }))
    }

    /// Records a widget's outcome.
    pub(crate) fn widget(&self, result: &WidgetResult) {
        let (spec, took) = (result.spec, result.origin.took);
        let Some(meters) = self.for_widget(spec) else { return };
        let (ok, duration) = meters.metrics(spec.name);
        duration.record(took.as_secs_f64());
        let outcome = outcome(result);
        if outcome == "ok" {
            ok.increment(1);
        } else {
            counter!("bff_backoffice_widget_total", "widget" => spec.name, "outcome" => outcome)
                .increment(1);
        }
        meters.recent.lock().record(outcome, took);
    }

    /// Counts a partial dashboard.
    pub(crate) fn dashboard(&self, partial: bool) {
        let name = "bff_backoffice_dashboard_partial_total";
        let counter = self.0.partial.get_or_init(|| counter!(name));
        counter.increment(u64::from(partial));
    }

    /// The widget's last outcome and recent latency.
    pub(crate) fn recent(&self, spec: &WidgetSpec) -> (Option<LastOutcome>, Option<Latency>) {
        let Some(meters) = self.for_widget(spec) else { return (None, None) };
        let recent = meters.recent.lock();
        let last = recent
            .last
            .map(|(outcome, at)| LastOutcome { outcome, seconds_ago: at.elapsed().as_secs() });
        (last, Latency::of(recent.waits.clone()))
    }

    fn for_widget(&self, spec: &WidgetSpec) -> Option<&WidgetMeters> {
        let index = WIDGETS.iter().position(|widget| std::ptr::eq(*widget, spec))?;
        self.0.widgets.get(index)
    }
}

fn outcome(result: &WidgetResult) -> &'static str {
    match result.widget.status {
        WidgetStatus::Ok => "ok",
        WidgetStatus::Stale => "stale",
        _ => result.widget.reason.map_or("none", |reason| reason.into_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_computed_from_sorted_latencies() {
        assert_eq!(Latency::of(Vec::new()), None);
        let waits = (1..=101).rev().map(Duration::from_millis).collect();
        let latency = Latency { p50_ms: 51.0, p95_ms: 96.0, p99_ms: 100.0, samples: 101 };
        assert_eq!(Latency::of(waits), Some(latency));
    }
}
