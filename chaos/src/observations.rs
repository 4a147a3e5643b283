//! Findings of a drill. A broken expectation does not end the drill; the report shows all of them.

use std::fmt::Display;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use crate::timeline::{Event, EventKind};

/// One expectation and what was observed.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// Milliseconds since the drill began.
    pub at_ms: u64,
    pub step: Step,
    /// The fault that was injected last.
    pub fault: Option<String>,
    /// The expectation, in the same words in every run: the catalogue names findings by it.
    pub name: String,
    pub found: String,
    pub held: bool,
}

/// The steps of every drill, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    Steady,
    Fault,
    Detection,
    User,
    Automatic,
    Runbook,
    Recovery,
}

impl Step {
    pub fn name(self) -> &'static str {
        match self {
            Self::Steady => "steady state",
            Self::Fault => "fault",
            Self::Detection => "detection",
            Self::User => "what the user sees",
            Self::Automatic => "automatic behaviour",
            Self::Runbook => "runbook",
            Self::Recovery => "recovery",
        }
    }
}

#[derive(Debug)]
pub struct Observations {
    /// When the drill began.
    pub begun: Instant,
    pub events: Vec<Event>,
    pub findings: Vec<Finding>,
    /// Page and output of each runbook's commands.
    pub command_outputs: Vec<(String, String)>,
    /// Alerts that were raised and must be resolved at the end.
    pub alerts: Vec<&'static str>,
    /// Time from the fault to its detection; the slowest of several faults.
    pub detected: Option<Duration>,
    /// Time from the end of the fault to steady state; the slowest of several faults.
    pub recovered: Option<Duration>,
    /// Whether a finding is about response times.
    pub asserts_times: bool,
    /// The fault in force, or the last one.
    fault: Option<String>,
}

impl Default for Observations {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            events: Vec::new(),
            findings: Vec::new(),
            command_outputs: Vec::new(),
            alerts: Vec::new(),
            detected: None,
            recovered: None,
            asserts_times: false,
            fault: None,
        }
    }
}

impl Observations {
    pub fn check(&mut self, step: Step, name: impl Display, held: bool, found: impl Display) {
        let (name, found) = (name.to_string(), found.to_string());
        if step == Step::Steady {
            self.fault = None;
        }
        let fault = self.fault.clone();
        if step == Step::Fault {
            self.fault = Some(name.clone());
            self.note(EventKind::Fault, Instant::now(), &name);
        }
        let at_ms = self.millis(Instant::now());
        self.findings.push(Finding { at_ms, step, fault, name, found, held });
    }

    /// Records a timed step; an error is a broken finding. Returns the time it took.
    pub fn check_timed(
        &mut self,
        step: Step,
        name: impl Display,
        outcome: anyhow::Result<Duration>,
    ) -> Option<Duration> {
        let found = match &outcome {
            Ok(took) => format!("after {} ms", took.as_millis()),
            Err(error) => format!("{error:#}"),
        };
        self.check(step, name, outcome.is_ok(), found);
        outcome.ok()
    }

    pub fn detected_after(&mut self, took: Option<Duration>) {
        self.detected = self.detected.max(took);
    }

    /// Notes the first symptom, which came this long after the last fault.
    pub fn note_symptom(&mut self, took: Duration) {
        let fault = self.last(EventKind::Fault).unwrap_or_else(|| self.millis(Instant::now()));
        let latest = self.millis(Instant::now());
        let at_ms = (fault + took.as_millis() as u64).min(latest);
        let what = self.fault.clone().unwrap_or_default();
        self.events.push(Event { at_ms, kind: EventKind::Symptom, what });
    }

    /// Notes the steady state, and the end of the fault, which was this long before.
    pub fn recovered_after(&mut self, took: Duration) {
        self.recovered = self.recovered.max(Some(took));
        let (steady, what) = (self.millis(Instant::now()), self.fault.clone().unwrap_or_default());
        let fault = self.last(EventKind::Fault).unwrap_or_default();
        if self.last(EventKind::Removed).is_none_or(|removed| removed < fault) {
            let at_ms = steady.saturating_sub(took.as_millis() as u64).max(fault);
            self.events.push(Event { at_ms, kind: EventKind::Removed, what: what.clone() });
        }
        self.events.push(Event { at_ms: steady, kind: EventKind::Steady, what });
    }

    /// Time from the last alert to the first command of a runbook after it.
    pub fn acknowledged(&self) -> Option<Duration> {
        let firing = self.last(EventKind::Firing)?;
        let command = self.events.iter().find(|event| event.kind == EventKind::Command)?;
        command.at_ms.checked_sub(firing).map(Duration::from_millis)
    }

    pub fn note(&mut self, kind: EventKind, at: Instant, what: &str) {
        let (at_ms, what) = (self.millis(at), what.to_owned());
        self.events.push(Event { at_ms, kind, what });
    }

    /// When the last event of this kind was.
    fn last(&self, kind: EventKind) -> Option<u64> {
        self.events.iter().filter(|event| event.kind == kind).map(|event| event.at_ms).max()
    }

    fn millis(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.begun).as_millis() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_fault_and_its_end_are_in_the_timeline() {
        let mut seen = Observations::default();
        tokio::time::advance(Duration::from_millis(100)).await;
        seen.check(Step::Fault, "a server is killed", true, "done");
        tokio::time::advance(Duration::from_millis(400)).await;
        seen.note_symptom(Duration::from_millis(50));
        tokio::time::advance(Duration::from_millis(500)).await;
        seen.recovered_after(Duration::from_millis(300));
        let events: Vec<_> = seen.events.iter().map(|event| (event.at_ms, event.kind)).collect();
        let expected = [
            (100, EventKind::Fault),
            (150, EventKind::Symptom),
            (700, EventKind::Removed),
            (1_000, EventKind::Steady),
        ];
        assert_eq!(events, expected);
        assert_eq!(seen.findings[0].at_ms, 100);
    }

    #[tokio::test(start_paused = true)]
    async fn a_fault_does_not_end_before_it_began() {
        let mut seen = Observations::default();
        tokio::time::advance(Duration::from_millis(100)).await;
        seen.check(Step::Fault, "the standby is promoted", true, "done");
        seen.recovered_after(Duration::from_millis(90));
        assert_eq!(seen.events[1].at_ms, 100);
    }
}
