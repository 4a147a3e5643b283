//! What came of the requests of one phase, counted while it runs. Its size does not grow with
//! their number.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::time::Instant;

/// Longest time the histograms tell apart, microseconds: twice what a request may take.
const LONGEST_US: u64 = 20_000_000;

/// How one request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Whole,
    /// A dashboard with widgets missing.
    Partial,
    /// `401 …`, `timeout`, `connection`.
    Failed(String),
}

#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) verdict: Verdict,
    /// Of the body; `None` when none came.
    pub(crate) first_byte: Option<Instant>,
    /// Before the body was looked into.
    pub(crate) done: Instant,
    pub(crate) bytes: u64,
}

/// A request that ended, with the moment it was due and the moment it was sent.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) due: Instant,
    pub(crate) sent: Instant,
    pub(crate) reply: Reply,
}

#[derive(Debug)]
pub(crate) struct Tally {
    begun: Instant,
    ended: Instant,
    pub(crate) whole: u64,
    pub(crate) partial: u64,
    pub(crate) errors: BTreeMap<String, u64>,
    bytes: u64,
    latency: Histogram<u64>,
    first_byte: Histogram<u64>,
    lateness: Histogram<u64>,
}

/// Milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Spread {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
    pub(crate) mean: f64,
}

impl Tally {
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

    /// Latency counts from the moment the request was due, so that a stall is charged to every
    /// request that had to wait for its end. Failures have no latency; they are counted.
    pub(crate) fn add(&mut self, ended: &Ended) {
        let Ended { due, sent, reply } = ended;
        self.ended = self.ended.max(reply.done);
        note(&mut self.lateness, sent.duration_since(*due));
        match &reply.verdict {
            Verdict::Failed(why) => return self.fail(why),
            Verdict::Whole => self.whole += 1,
            Verdict::Partial => self.partial += 1,
        }
        self.bytes += reply.bytes;
        note(&mut self.latency, reply.done.duration_since(*due));
        if let Some(first) = reply.first_byte {
            note(&mut self.first_byte, first.duration_since(*due));
        }
    }

    /// Adds what another tally counted.
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

    pub(crate) fn answered(&self) -> u64 {
        self.whole + self.partial
    }

    pub(crate) fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    pub(crate) fn requests(&self) -> u64 {
        self.answered() + self.failed()
    }

    pub(crate) fn length(&self) -> Duration {
        self.ended - self.begun
    }

    /// Answers a second, failures left out.
    pub(crate) fn throughput(&self) -> f64 {
        self.answered() as f64 / self.length().as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// Mean size of an answer's body, bytes.
    pub(crate) fn body_bytes(&self) -> u64 {
        self.bytes / self.answered().max(1)
    }

    pub(crate) fn latency(&self) -> Spread {
        spread(&self.latency)
    }

    pub(crate) fn first_byte(&self) -> Spread {
        spread(&self.first_byte)
    }

    pub(crate) fn lateness(&self) -> Spread {
        spread(&self.lateness)
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(LONGEST_US, 3).expect("the bounds are constants that fit")
}

fn note(histogram: &mut Histogram<u64>, took: Duration) {
    histogram.saturating_record(took.as_micros() as u64);
}

fn spread(histogram: &Histogram<u64>) -> Spread {
    let ms = |us: u64| us as f64 / 1e3;
    let at = |quantile| ms(histogram.value_at_quantile(quantile));
    Spread {
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

    fn ended(due: Instant, sent_ms: u64, done_ms: u64, verdict: Verdict) -> Ended {
        let after = |ms| due + Duration::from_millis(ms);
        let reply = Reply { verdict, first_byte: None, done: after(done_ms), bytes: 10 };
        Ended { due, sent: after(sent_ms), reply }
    }

    #[test]
    fn waiting_to_be_sent_is_part_of_the_latency() {
        let mut tally = Tally::new();
        tally.add(&ended(Instant::now(), 100, 120, Verdict::Whole));
        assert!((tally.latency().p50 - 120.0).abs() < 0.5);
        assert!((tally.lateness().p50 - 100.0).abs() < 0.5);
    }

    #[test]
    fn a_failure_is_counted_and_has_no_latency() {
        let mut tally = Tally::new();
        tally.add(&ended(Instant::now(), 0, 20, Verdict::Partial));
        tally.add(&ended(Instant::now(), 0, 5000, Verdict::Failed("timeout".to_owned())));
        assert_eq!((tally.answered(), tally.failed(), tally.partial), (1, 1, 1));
        assert!(tally.latency().max < 21.0);
    }
}
