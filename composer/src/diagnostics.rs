//! Diagnostics per widget, for operators: last outcome, latency, and cache hit ratio.

use serde::Serialize;

use crate::compose::Composer;
pub use crate::meters::{LastOutcome, Latency};
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
    /// Absent before the first request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<LastOutcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    pub cache: CacheCounts,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hit_ratio: Option<f64>,
}

impl Composer {
    /// In the order of [`WIDGETS`].
    pub fn report(&self) -> Vec<WidgetReport> {
        WIDGETS.iter().map(|spec| self.report_of(spec)).collect()
    }

    fn report_of(&self, spec: &'static WidgetSpec) -> WidgetReport {
        let (last, latency) = self.meters().recent(spec);
        let cache = self.snapshots().counts(&spec.read.policy);
        WidgetReport {
            widget: spec.name,
            source: spec.source(),
            deadline_ms: spec.read.policy.deadline.as_millis() as u64,
            fresh_seconds: spec.read.policy.fresh.as_secs(),
            stale_seconds: spec.read.policy.stale.as_secs(),
            last,
            latency,
            cache,
            hit_ratio: cache.hit_ratio().map(|ratio| (ratio * 1000.0).round() / 1000.0),
        }
    }
}
