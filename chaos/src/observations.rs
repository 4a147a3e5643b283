//! Findings of a drill. A broken expectation does not end the drill; the report shows all of them.

use std::fmt::Display;
use std::time::Duration;

use serde::Serialize;

/// One expectation and what was observed.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    pub step: Step,
    pub expected: String,
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
            Self::Recovery => "recovery",
        }
    }
}

#[derive(Debug, Default)]
pub struct Observations {
    pub findings: Vec<Finding>,
    /// Alerts that were raised and must be resolved at the end.
    pub alerts: Vec<&'static str>,
    /// Time from the fault to its detection; the slowest of several faults.
    pub detected: Option<Duration>,
    /// Time from the end of the fault to steady state; the slowest of several faults.
    pub recovered: Option<Duration>,
}

impl Observations {
    pub fn check(&mut self, step: Step, expected: impl Display, held: bool, found: impl Display) {
        let (expected, found) = (expected.to_string(), found.to_string());
        self.findings.push(Finding { step, expected, found, held });
    }

    /// Records a timed step; an error is a broken expectation.
    pub fn check_timed(
        &mut self,
        step: Step,
        expected: impl Display,
        outcome: anyhow::Result<Duration>,
    ) -> Option<Duration> {
        let held = outcome.is_ok();
        let found = match &outcome {
            Ok(took) => format!("after {} ms", took.as_millis()),
            Err(error) => format!("{error:#}"),
        };
        self.check(step, expected, held, found);
        outcome.ok()
    }

    pub fn detected_after(&mut self, took: Option<Duration>) {
        self.detected = self.detected.max(took);
    }

    pub fn recovered_after(&mut self, took: Option<Duration>) {
        self.recovered = self.recovered.max(took);
    }

    pub fn all_held(&self) -> bool {
        !self.findings.is_empty() && self.findings.iter().all(|finding| finding.held)
    }
}
