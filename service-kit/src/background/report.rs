//! What operators see of a background task: its trigger, and its last activation on this instance.

use std::error::Error;
use std::time::Duration;

use contracts::clock::wire;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::Caught;
use crate::problem::chain;
use crate::telemetry::panics;

/// What starts an activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "trigger", rename_all = "lowercase", rename_all_fields = "camelCase")]
pub enum Trigger {
    /// Time, and for some tasks a notification.
    Interval { interval_ms: u64 },
    /// A request of the scheduler.
    Http,
}

impl Trigger {
    pub(super) fn every(interval: Duration) -> Self {
        Self::Interval { interval_ms: milliseconds(interval) }
    }
}

/// A task on this instance, since the program started.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskReport {
    pub name: &'static str,
    #[serde(flatten)]
    pub trigger: Trigger,
    /// Number of activations, with one that is running.
    pub activations: u64,
    /// Whether the activation that began at `last_started_at` still runs.
    pub is_running: bool,
    pub last_started_at: Option<wire::Timestamp>,
    /// Of the last activation that ended by itself, as is the result.
    pub last_duration_ms: Option<u64>,
    pub last_result: Option<TaskResult>,
}

/// How an activation ended. The name is the one on the wire and in the metric.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
#[derive(strum::IntoStaticStr)]
#[strum(const_into_str, serialize_all = "lowercase")]
pub enum TaskResult {
    Ok {
        status: Value,
    },
    /// With the causes.
    Error {
        error: String,
    },
    /// With its message.
    Panic {
        error: String,
    },
}

impl TaskReport {
    pub(super) fn new(name: &'static str, trigger: Trigger) -> Self {
        Self {
            name,
            trigger,
            activations: 0,
            is_running: false,
            last_started_at: None,
            last_duration_ms: None,
            last_result: None,
        }
    }

    pub(super) fn begin(&mut self, now: Timestamp) {
        self.activations += 1;
        self.is_running = true;
        self.last_started_at = Some(now.into());
    }

    pub(super) fn end(&mut self, duration: Duration, result: TaskResult) {
        self.last_duration_ms = Some(milliseconds(duration));
        self.last_result = Some(result);
    }
}

impl TaskResult {
    pub(super) fn of<T: Serialize, E: Error + 'static>(outcome: &Caught<T, E>) -> Self {
        match outcome {
            Ok(Ok(status)) => Self::Ok { status: serde_json::to_value(status).unwrap_or_default() },
            Ok(Err(error)) => Self::Error { error: chain(error) },
            Err(payload) => Self::Panic { error: panics::message(payload.as_ref()).to_owned() },
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
