//! The call stack's metrics. Those of a good call are looked up by their labels once, not with
//! every call.

use std::sync::OnceLock;
use std::time::Duration;

use contracts::dashboard::Reason;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

#[derive(Debug)]
pub(crate) struct Meters {
    upstream: &'static str,
    good: OnceLock<Ended>,
    breaker: OnceLock<Gauge>,
}

/// Calls that ended in one way.
#[derive(Debug)]
struct Ended {
    total: Counter,
    duration: Histogram,
}

impl Ended {
    fn looked_up(upstream: &'static str, outcome: &'static str) -> Self {
        Self {
            total: counter!("bff_backoffice_upstream_request_total", "upstream" => upstream, "outcome" => outcome),
            duration: histogram!("bff_backoffice_upstream_request_duration_seconds", "upstream" => upstream, "outcome" => outcome),
        }
    }

    fn count(&self, took: Duration) {
        self.total.increment(1);
        self.duration.record(took.as_secs_f64());
    }
}

impl Meters {
    pub(crate) fn new(upstream: &'static str) -> Self {
        Self { upstream, good: OnceLock::new(), breaker: OnceLock::new() }
    }

    /// `level` is the breaker's, after the call.
    pub(crate) fn ended(&self, reason: Option<Reason>, took: Duration, level: f64) {
        match reason {
            None => {
                self.good.get_or_init(|| Ended::looked_up(self.upstream, "ok")).count(took);
            }
            Some(reason) => Ended::looked_up(self.upstream, reason.name()).count(took),
        }
        let name = "bff_backoffice_circuit_breaker_state";
        self.breaker.get_or_init(|| gauge!(name, "upstream" => self.upstream)).set(level);
    }

    pub(crate) fn retried(&self) {
        counter!("bff_backoffice_upstream_retry_total", "upstream" => self.upstream).increment(1);
    }

    pub(crate) fn drifted(&self) {
        counter!("bff_backoffice_upstream_schema_drift_total", "upstream" => self.upstream)
            .increment(1);
    }
}
