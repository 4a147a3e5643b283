//! When what happened during a drill, for the report.

use serde::Serialize;

/// One moment of a drill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Milliseconds since the drill began.
    pub at_ms: u64,
    pub kind: EventKind,
    /// The fault, the alert or the state.
    pub what: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// A fault is in force.
    Fault,
    /// The first sign of it that the drill looks for.
    Symptom,
    /// An alert's expression became true.
    Pending,
    Firing,
    /// The first command of a runbook is run.
    Command,
    /// The fault is removed.
    Removed,
    /// The steady state is reached again.
    Steady,
    /// An alert became inactive.
    Resolved,
}

impl EventKind {
    pub const ALL: [Self; 8] = [
        Self::Fault,
        Self::Symptom,
        Self::Pending,
        Self::Firing,
        Self::Command,
        Self::Removed,
        Self::Steady,
        Self::Resolved,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Fault => "fault",
            Self::Symptom => "first symptom",
            Self::Pending => "alert pending",
            Self::Firing => "alert firing",
            Self::Command => "first runbook command",
            Self::Removed => "fault removed",
            Self::Steady => "steady again",
            Self::Resolved => "alert resolved",
        }
    }
}
