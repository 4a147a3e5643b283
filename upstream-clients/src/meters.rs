//! The call stack's metrics. Those of a good call are looked up by their labels once, not with
//! every call.

use std::sync::OnceLock;
use std::time::Duration;

use contracts::dashboard::Reason;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::breaker::{Doors, Position};
use crate::concurrency::Usage;

#[derive(Debug)]
pub(crate) struct Meters {
    upstream: &'static str,
    good: OnceLock<Ended>,
    gauges: OnceLock<Gauges>,
}

#[derive(Debug)]
struct Gauges {
    breaker: Gauge,
    shut_out: Gauge,
    limit: Gauge,
    in_flight: Gauge,
}

impl Gauges {
    fn looked_up(upstream: &'static str) -> Self {
        Self {
            breaker: gauge!("bff_backoffice_circuit_breaker_state", "upstream" => upstream),
            shut_out: gauge!("bff_backoffice_circuit_breaker_tenants", "upstream" => upstream),
            limit: gauge!("bff_backoffice_upstream_concurrency_limit", "upstream" => upstream),
            in_flight: gauge!("bff_backoffice_upstream_inflight", "upstream" => upstream),
        }
    }
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
        Self { upstream, good: OnceLock::new(), gauges: OnceLock::new() }
    }

    pub(crate) fn ended(&self, reason: Option<Reason>, took: Duration) {
        match reason {
            None => {
                self.good.get_or_init(|| Ended::looked_up(self.upstream, "ok")).count(took);
            }
            Some(reason) => Ended::looked_up(self.upstream, reason.name()).count(took),
        }
    }

    /// How the upstream stands after a call.
    pub(crate) fn stands(&self, doors: Doors, usage: Usage) {
        let gauges = self.gauges.get_or_init(|| Gauges::looked_up(self.upstream));
        gauges.breaker.set(match doors.position {
            Position::Closed => 0.0,
            Position::HalfOpen => 0.5,
            Position::Open => 1.0,
        });
        gauges.shut_out.set(doors.shut_out as f64);
        gauges.limit.set(usage.limit as f64);
        gauges.in_flight.set(usage.in_flight as f64);
    }

    pub(crate) fn retried(&self) {
        counter!("bff_backoffice_upstream_retry_total", "upstream" => self.upstream).increment(1);
    }

    pub(crate) fn hedged(&self) {
        counter!("bff_backoffice_upstream_hedge_total", "upstream" => self.upstream).increment(1);
    }

    pub(crate) fn drifted(&self) {
        counter!("bff_backoffice_upstream_schema_drift_total", "upstream" => self.upstream)
            .increment(1);
    }
}
