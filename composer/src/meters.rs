//! How widgets and dashboards ended: as metrics, looked up by their labels once, and for the
//! reading aid.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use contracts::dashboard::{Reason, WidgetStatus};
use metrics::{Counter, Histogram, counter, histogram};
use tokio::time::Instant;

use crate::compose::Settled;
use crate::report::{LastOutcome, Latency};
use crate::widgets::{WIDGETS, WidgetSpec};

/// Waits that the percentiles are taken of.
const REMEMBERED: usize = 512;

#[derive(Debug, Clone)]
pub(crate) struct Meters(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// In the order of the table.
    widgets: Vec<Of>,
    partial: OnceLock<Counter>,
}

#[derive(Debug, Default)]
struct Of {
    metrics: OnceLock<(Counter, Histogram)>,
    recent: Mutex<Recent>,
}

#[derive(Debug, Default)]
struct Recent {
    last: Option<(&'static str, Instant)>,
    /// Of the last ones, in no order.
    waits: Vec<Duration>,
    /// Where the next one goes.
    next: usize,
}

impl Recent {
    fn note(&mut self, outcome: &'static str, took: Duration) {
        self.last = Some((outcome, Instant::now()));
        if self.waits.len() < REMEMBERED {
            self.waits.push(took);
        } else {
            self.waits[self.next] = took;
        }
        self.next = (self.next + 1) % REMEMBERED;
    }
}

impl Of {
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
        let widgets = WIDGETS.iter().map(|_| Of::default()).collect();
        Self(Arc::new(Inner { widgets, partial: OnceLock::new() }))
    }

    /// A widget has settled.
    pub(crate) fn widget(&self, spec: &'static WidgetSpec, took: Duration, settled: &Settled) {
        let Some(of) = self.of(spec) else { return };
        let (ok, duration) = of.metrics(spec.name);
        duration.record(took.as_secs_f64());
        let outcome = outcome(settled);
        if outcome == "ok" {
            ok.increment(1);
        } else {
            counter!("bff_backoffice_widget_total", "widget" => spec.name, "outcome" => outcome)
                .increment(1);
        }
        of.recent.lock().unwrap_or_else(PoisonError::into_inner).note(outcome, took);
    }

    /// A dashboard is whole, or not.
    pub(crate) fn dashboard(&self, partial: bool) {
        let name = "bff_backoffice_dashboard_partial_total";
        let counter = self.0.partial.get_or_init(|| counter!(name));
        counter.increment(u64::from(partial));
    }

    /// How the widget ended last, and how long it took lately.
    pub(crate) fn recent(&self, spec: &WidgetSpec) -> (Option<LastOutcome>, Option<Latency>) {
        let Some(of) = self.of(spec) else { return (None, None) };
        let recent = of.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let last = recent
            .last
            .map(|(outcome, at)| LastOutcome { outcome, seconds_ago: at.elapsed().as_secs() });
        (last, Latency::of(recent.waits.clone()))
    }

    fn of(&self, spec: &WidgetSpec) -> Option<&Of> {
        let place = WIDGETS.iter().position(|widget| std::ptr::eq(widget, spec))?;
        self.0.widgets.get(place)
    }
}

fn outcome(settled: &Settled) -> &'static str {
    match settled.widget.status {
        WidgetStatus::Ok => "ok",
        WidgetStatus::Stale => "stale",
        _ => settled.widget.reason.map_or("none", Reason::name),
    }
}
