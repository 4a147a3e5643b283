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
    pub origin: WidgetOrigin,
}

impl WidgetResult {
    /// Whether it makes the dashboard partial: stale or unavailable, and not optional.
    pub fn makes_partial(&self) -> bool {
        is_degraded(self.widget.status) && !self.spec.is_optional
    }
}

pub(crate) fn is_degraded(status: WidgetStatus) -> bool {
    matches!(status, WidgetStatus::Stale | WidgetStatus::Unavailable)
}

/// A widget's status and the origin of its content, without the content.
#[derive(Debug, Clone, Copy)]
pub struct WidgetOrigin {
    pub name: &'static str,
    pub upstream: Option<Upstream>,
    pub status: WidgetStatus,
    /// `None` when there is no content.
    pub source: Option<Source>,
    /// Equal for equal content.
    pub tag: u64,
    /// How long it waited for its source.
    pub took: Duration,
}

pub(crate) fn milliseconds(duration: Duration) -> u64 {
    duration.as_millis() as u64
}
