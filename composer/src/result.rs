//! The outcome of one widget of a dashboard, or of one part of a workbench view.

use std::time::Duration;

use contracts::dashboard::{Widget, WidgetStatus};
use contracts::upstream::Upstream;

use crate::source::Source;
use crate::widgets::WidgetSpec;

#[derive(Debug)]
pub struct WidgetResult {
    pub spec: &'static WidgetSpec,
    pub widget: Widget,
    /// `None` when there is no content.
    pub source: Option<Source>,
    /// Equal for equal content.
    pub tag: u64,
    /// How long it waited for its source.
    pub took: Duration,
}

impl WidgetResult {
    /// Whether it makes the dashboard partial: stale or unavailable, and not optional.
    pub fn makes_partial(&self) -> bool {
        let is_degraded =
            matches!(self.widget.status, WidgetStatus::Stale | WidgetStatus::Unavailable);
        is_degraded && !self.spec.is_optional
    }
}

/// A widget's status and the origin of its content, without the content.
#[derive(Debug, Clone, Copy)]
pub struct WidgetOrigin {
    pub name: &'static str,
    pub upstream: Option<Upstream>,
    pub status: WidgetStatus,
    pub source: Option<Source>,
    pub tag: u64,
    pub took: Duration,
}

impl WidgetOrigin {
    pub(crate) fn of(result: &WidgetResult) -> Self {
        let WidgetResult { spec, source, tag, took, .. } = *result;
        let (name, upstream) = (spec.name, spec.read.policy.upstream);
        Self { name, upstream, status: result.widget.status, source, tag, took }
    }
}

pub(crate) fn milliseconds(duration: Duration) -> u64 {
    duration.as_millis() as u64
}
