//! The call stack's metrics. The handles of successful calls are cached.

use std::sync::OnceLock;
use std::time::Duration;

use contracts::dashboard::Reason;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::breaker::{BreakerPosition, BreakerSummary};
use crate::concurrency::Usage;

#[derive(Debug)]
pub(crate) struct Meters {
    upstream: &'static str,
    good: OnceLock<OutcomeMetrics>,
    gauges: OnceLock<Gauges>,
}

#[derive(Debug)]
struct Gauges {
    breaker: Gauge,
    open_tenants: Gauge,
    limit: Gauge,
    in_flight: Gauge,
}

impl Gauges {
    fn new(upstream: &'static str) -> Self {
        Self {
            breaker: gauge!("bff_backoffice_circuit_breaker_state", "upstream" => upstream),
            open_tenants: gauge!("bff_backoffice_circuit_breaker_tenants", "upstream" => upstream),
            limit: gauge!("bff_backoffice_upstream_concurrency_limit", "upstream" => upstream),
            in_flight: gauge!("bff_backoffice_upstream_inflight", "upstream" => upstream),
        }
    }
}

/// Metrics of the calls with one outcome.
#[derive(Debug)]
struct OutcomeMetrics {
    total: Counter,
    duration: Histogram,
}

impl OutcomeMetrics {
    fn new(upstream: &'static str, outcome: &'static str) -> Self {
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
        Self { upstream, good: OnceLock::new(), gauges: OnceLock::new() }
    }

    pub(crate) fn ended(&self, reason: Option<Reason>, took: Duration) {
        match reason {
            None => {
                self.good.get_or_init(|| OutcomeMetrics::new(self.upstream, "ok")).count(took);
            }
            Some(reason) => OutcomeMetrics::new(self.upstream, reason.into_str()).count(took),
        }
    }

    /// Publishes the upstream's state after a call.
    pub(crate) fn update_gauges(&self, breaker: BreakerSummary, usage: Usage) {
        let gauges = self.gauges.get_or_init(|| Gauges::new(self.upstream));
        gauges.breaker.set(match breaker.position {
            BreakerPosition::Closed => 0.0,
            BreakerPosition::HalfOpen => 0.5,
            BreakerPosition::Open => 1.0,
        });
        gauges.open_tenants.set(breaker.open_tenants as f64);
        gauges.limit.set(usage.limit as f64);
        gauges.in_flight.set(usage.in_flight as f64);
    }

    pub(crate) fn retried(&self) {
        counter!("bff_backoffice_upstream_retry_total", "upstream" => self.upstream).increment(1);
    }

    pub(crate) fn drifted(&self) {
        counter!("bff_backoffice_upstream_schema_drift_total", "upstream" => self.upstream)
            .increment(1);
    }
}
