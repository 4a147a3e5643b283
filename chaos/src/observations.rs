//! Findings of a drill. A broken expectation does not end the drill; the report shows all of them.

use std::fmt::Display;
use std::time::Duration;

use serde::Serialize;

/// One expectation and what was observed.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
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
    /// Whether a finding is about response times.
    pub asserts_times: bool,
    /// The fault in force, or the last one.
    fault: Option<String>,
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
        }
        self.findings.push(Finding { step, fault, name, found, held });
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
}
