//! How one kind of read is executed and cached (gateway-api sections 4 and 6). Each stands with what
//! it serves: a widget in [`crate::widgets`], a column of the workbench, or a handler of the gateway.

use std::time::Duration;

use contracts::upstream::Upstream;

#[derive(Debug, Clone, Copy)]
pub struct ReadPolicy {
    /// Unique; part of the cache key and a label of metrics.
    pub name: &'static str,
    /// `None` for data of the gateway itself.
    pub upstream: Option<Upstream>,
    /// Longest wait for the upstream, counted from the receipt of the request.
    pub deadline: Duration,
    /// How long a snapshot is fresh. Zero: never cached.
    pub fresh: Duration,
    /// How long after that it may still be shown, with its age, if the upstream fails.
    pub stale: Duration,
    /// Whether the response is about "today": then it expires at the property's midnight.
    pub is_of_today: bool,
}

impl ReadPolicy {
    /// A read that is never cached, unless [`Self::fresh_secs`] says so.
    pub const fn new(name: &'static str, upstream: Upstream, deadline_ms: u64) -> Self {
        Self { upstream: Some(upstream), ..Self::of_gateway(name, deadline_ms) }
    }

    /// A read of the gateway's own data, which is never cached.
    pub const fn of_gateway(name: &'static str, deadline_ms: u64) -> Self {
        Self {
            name,
            upstream: None,
            deadline: Duration::from_millis(deadline_ms),
            fresh: Duration::ZERO,
            stale: Duration::ZERO,
            is_of_today: false,
        }
    }

    #[must_use]
    pub const fn fresh_secs(self, seconds: u64) -> Self {
        Self { fresh: Duration::from_secs(seconds), ..self }
    }

    #[must_use]
    pub const fn stale_secs(self, seconds: u64) -> Self {
        Self { stale: Duration::from_secs(seconds), ..self }
    }

    /// Declares that the response is about a day (by default today).
    #[must_use]
    pub const fn of_today(self) -> Self {
        Self { is_of_today: true, ..self }
    }
}
