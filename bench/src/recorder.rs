//! Counts outcomes and latencies of one phase, in constant memory.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::time::Instant;

/// Upper bound of the histograms, microseconds: well above the request timeout.
const MAX_LATENCY_US: u64 = 20_000_000;

/// Outcome of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Whole,
    /// A partial dashboard.
    Partial,
    /// The reason, such as `401 …`.
    Failed(String),
}

#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) outcome: Outcome,
    /// First byte of the body; `None` if there was none.
    pub(crate) first_byte: Option<Instant>,
    /// When the body was complete, before it was parsed.
    pub(crate) done: Instant,
    pub(crate) bytes: u64,
}

/// A completed request, with the times it was due and sent.
#[derive(Debug)]
pub(crate) struct FinishedRequest {
    pub(crate) due: Instant,
    pub(crate) sent: Instant,
    pub(crate) reply: Reply,
}

#[derive(Debug)]
pub(crate) struct Recorder {
    begun: Instant,
    ended: Instant,
    whole: u64,
    partial: u64,
    errors: BTreeMap<String, u64>,
    bytes: u64,
    latency: Histogram<u64>,
    first_byte: Histogram<u64>,
    lateness: Histogram<u64>,
}

/// What was recorded, as written to the JSON file.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Figures {
    pub(crate) seconds: f64,
    pub(crate) requests: u64,
    pub(crate) whole: u64,
    pub(crate) partial: u64,
    pub(crate) failed: u64,
    pub(crate) errors: BTreeMap<String, u64>,
    /// Successful responses a second.
    pub(crate) per_second: f64,
    /// Mean size of a body.
    pub(crate) body_bytes: u64,
    pub(crate) latency_ms: Percentiles,
    pub(crate) first_byte_ms: Percentiles,
    /// Delay between the scheduled and the actual sending.
    pub(crate) sent_late_ms: Percentiles,
}

/// Milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
    pub(crate) mean: f64,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self {
            begun: now,
            ended: now,
            whole: 0,
            partial: 0,
            errors: BTreeMap::new(),
            bytes: 0,
            latency: histogram(),
            first_byte: histogram(),
            lateness: histogram(),
        }
    }

    /// Records a request. Latency counts from the moment it was due, so that a stall counts for every
    /// request that had to wait. Failures are counted and have no latency.
    pub(crate) fn add(&mut self, finished: &FinishedRequest) {
        let FinishedRequest { due, sent, reply } = finished;
        self.ended = self.ended.max(reply.done);
        record(&mut self.lateness, sent.duration_since(*due));
        match &reply.outcome {
            Outcome::Failed(why) => return self.fail(why),
            Outcome::Whole => self.whole += 1,
            Outcome::Partial => self.partial += 1,
        }
        self.bytes += reply.bytes;
        record(&mut self.latency, reply.done.duration_since(*due));
        if let Some(first) = reply.first_byte {
            record(&mut self.first_byte, first.duration_since(*due));
        }
    }

    /// Adds the counts of another recorder.
    pub(crate) fn merge(&mut self, other: &Self) -> anyhow::Result<()> {
        self.whole += other.whole;
        self.partial += other.partial;
        self.bytes += other.bytes;
        for (why, count) in &other.errors {
            *self.errors.entry(why.clone()).or_default() += count;
        }
        self.latency.add(&other.latency)?;
        self.first_byte.add(&other.first_byte)?;
        self.lateness.add(&other.lateness)?;
        Ok(())
    }

    pub(crate) fn fail(&mut self, why: &str) {
        *self.errors.entry(why.to_owned()).or_default() += 1;
    }

    pub(crate) fn figures(&self) -> Figures {
        let (answered, failed) = (self.whole + self.partial, self.errors.values().sum());
        let seconds = (self.ended - self.begun).as_secs_f64();
        Figures {
            seconds,
            requests: answered + failed,
            whole: self.whole,
            partial: self.partial,
            failed,
            errors: self.errors.clone(),
            per_second: answered as f64 / seconds.max(f64::MIN_POSITIVE),
            body_bytes: self.bytes / answered.max(1),
            latency_ms: percentiles(&self.latency),
            first_byte_ms: percentiles(&self.first_byte),
            sent_late_ms: percentiles(&self.lateness),
        }
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(MAX_LATENCY_US, 3).expect("the bounds are constants that fit")
}

fn record(histogram: &mut Histogram<u64>, took: Duration) {
    histogram.saturating_record(took.as_micros() as u64);
}

fn percentiles(histogram: &Histogram<u64>) -> Percentiles {
    let ms = |us: u64| us as f64 / 1e3;
    let at = |quantile| ms(histogram.value_at_quantile(quantile));
    Percentiles {
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        max: ms(histogram.max()),
        mean: histogram.mean() / 1e3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(due: Instant, sent_ms: u64, done_ms: u64, outcome: Outcome) -> FinishedRequest {
        let after = |ms| due + Duration::from_millis(ms);
        let reply = Reply { outcome, first_byte: None, done: after(done_ms), bytes: 10 };
        FinishedRequest { due, sent: after(sent_ms), reply }
    }

    #[test]
    fn waiting_to_be_sent_is_part_of_the_latency() {
        let mut recorder = Recorder::new();
        recorder.add(&finished(Instant::now(), 100, 120, Outcome::Whole));
        let figures = recorder.figures();
        assert!((figures.latency_ms.p50 - 120.0).abs() < 0.5);
        assert!((figures.sent_late_ms.p50 - 100.0).abs() < 0.5);
    }

    #[test]
    fn a_failure_is_counted_and_has_no_latency() {
        let mut recorder = Recorder::new();
        recorder.add(&finished(Instant::now(), 0, 20, Outcome::Partial));
        recorder.add(&finished(Instant::now(), 0, 5000, Outcome::Failed("timeout".to_owned())));
        let figures = recorder.figures();
        assert_eq!((figures.requests, figures.failed, figures.partial), (2, 1, 1));
        assert!(figures.latency_ms.max < 21.0);
    }
}
