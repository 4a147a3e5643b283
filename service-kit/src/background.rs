//! Background tasks, which a program repeats while it runs, and the driver that activates them.
//!
//! A task is activated at start, then at an interval and whenever its wake-up is notified, one activation
//! at a time. Each activation has a span and a metric, and the last result is kept for operators. Not
//! here: the tasks, which live with their subjects, and exclusion between instances, which a task sees to
//! itself.

use std::any::Any;
use std::error::Error;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use contracts::env::Env;
use futures_util::FutureExt;
use metrics::histogram;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tracing::Instrument;

use crate::lifecycle::Lifecycle;

mod failure_log;
mod report;

use failure_log::FailureLog;
pub use report::{TaskReport, TaskResult, Trigger};

/// Work that a program repeats while it runs.
pub trait BackgroundTask: Send + 'static {
    /// What an activation found or did, as operators see it.
    type Status: Serialize + Send;
    type Error: Error + Send + 'static;

    /// Does the work once. It is called again after an error and after a panic, and its future is dropped
    /// when shutdown begins.
    fn activate(&mut self) -> impl Future<Output = Result<Self::Status, Self::Error>> + Send;

    /// Whether no work is left. If some is, the next activation comes as soon as after an error.
    fn is_complete(_status: &Self::Status) -> bool {
        true
    }
}

/// When a task is activated, counted from the start of the activation before. One that takes longer delays
/// the next.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// Interval after a complete activation.
    pub interval: Duration,
    /// Interval after an error, a panic or an incomplete activation, if it is shorter.
    pub retry: Duration,
    /// Longest random delay of each activation, so that instances do not work at the same time.
    pub jitter: Duration,
}

impl Schedule {
    /// Always the same interval, without jitter.
    pub const fn every(interval: Duration) -> Self {
        Self { interval, retry: interval, jitter: Duration::ZERO }
    }

    fn pause(&self, is_complete: bool) -> Duration {
        if is_complete { self.interval } else { self.retry.min(self.interval) }
    }
}

/// Result of work, or what it panicked with.
type Caught<T, E> = Result<Result<T, E>, Box<dyn Any + Send>>;

/// Activates a program's tasks until shutdown, and reports on each. Cheap to clone.
#[derive(Debug, Clone)]
pub struct TaskDriver(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    env: Env,
    lifecycle: Lifecycle,
    reports: Mutex<Vec<TaskReport>>,
}

impl TaskDriver {
    pub fn new(env: Env, lifecycle: Lifecycle) -> Self {
        Self(Arc::new(Inner { env, lifecycle, reports: Mutex::default() }))
    }

    /// Activates the task after the schedule's jitter and then on `schedule`, until shutdown begins. Its
    /// name is the label `task` of the metric; only the same work, started over HTTP, has it too.
    pub fn start(&self, name: &'static str, task: impl BackgroundTask, schedule: Schedule) {
        self.start_with_wake_up(name, task, schedule, Arc::default());
    }

    /// As [`start`](Self::start), and also whenever `wake_up` is notified. A notification during an
    /// activation leads to another one after it.
    pub fn start_with_wake_up(
        &self,
        name: &'static str,
        task: impl BackgroundTask,
        schedule: Schedule,
        wake_up: Arc<Notify>,
    ) {
        let report = TaskReport::new(name, Trigger::every(schedule.interval));
        let named = Named { name, index: self.with_reports(|reports| add(reports, report)) };
        let driver = self.clone();
        self.0.lifecycle.spawn_until_stop(async move {
            driver.repeat(named, task, schedule, &wake_up).await;
        });
    }

    /// Lists a task that requests start, so that it is reported before it first runs.
    pub fn list(&self, name: &'static str) {
        self.listed(name);
    }

    /// Does the work of the task `name` once, for a request.
    pub async fn run<T, E>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E>
    where
        T: Serialize,
        E: Error + 'static,
    {
        let caught = self.observe(self.listed(name), work).await;
        caught.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Every task, in the order in which they were started or listed.
    pub fn reports(&self) -> Vec<TaskReport> {
        self.with_reports(|reports| reports.clone())
    }

    async fn repeat<T: BackgroundTask>(
        &self,
        named: Named,
        mut task: T,
        schedule: Schedule,
        wake_up: &Notify,
    ) {
        let (name, mut due, mut failures) = (named.name, Instant::now(), FailureLog::new());
        loop {
            let jitter = schedule.jitter.mul_f64(self.0.env.entropy.unit());
            tokio::select! {
                () = sleep_until(due + jitter) => {}
                () = wake_up.notified() => {}
            }
            let started = Instant::now();
            let outcome = self.observe(named, task.activate()).await;
            match &outcome {
                Ok(Ok(_)) => failures.succeeded(name),
                Ok(Err(error)) => failures.failed(name, error),
                // The panic hook has logged it.
                Err(_) => {}
            }
            let status = outcome.ok().and_then(Result::ok);
            due = started + schedule.pause(status.as_ref().is_some_and(T::is_complete));
        }
    }

    /// Does the work under a span, and reports and measures it.
    async fn observe<T, E>(
        &self,
        named: Named,
        work: impl Future<Output = Result<T, E>>,
    ) -> Caught<T, E>
    where
        T: Serialize,
        E: Error + 'static,
    {
        let Named { name, index } = named;
        let (now, started) = (self.0.env.now(), Instant::now());
        self.with_reports(|reports| reports[index].begin(now));
        // A request that runs a task may be dropped.
        let running = Running { driver: self, index };
        let work = work.instrument(tracing::info_span!("background_task", task = name));
        let outcome = AssertUnwindSafe(work).catch_unwind().await;
        let (duration, result) = (started.elapsed(), TaskResult::of(&outcome));
        let outcome_label = result.into_str();
        histogram!("background_task_duration_seconds", "task" => name, "outcome" => outcome_label)
            .record(duration.as_secs_f64());
        self.with_reports(|reports| reports[index].end(duration, result));
        drop(running);
        outcome
    }

    /// The report of a task that requests start.
    fn listed(&self, name: &'static str) -> Named {
        let index = self.with_reports(|reports| {
            let known = reports
                .iter()
                .position(|report| report.name == name && report.trigger == Trigger::Http);
            known.unwrap_or_else(|| add(reports, TaskReport::new(name, Trigger::Http)))
        });
        Named { name, index }
    }

    fn with_reports<T>(&self, change: impl FnOnce(&mut Vec<TaskReport>) -> T) -> T {
        change(&mut self.0.reports.lock())
    }
}

/// A task's name, and the index of its report.
#[derive(Clone, Copy)]
struct Named {
    name: &'static str,
    index: usize,
}

/// Returns the report's index.
fn add(reports: &mut Vec<TaskReport>, report: TaskReport) -> usize {
    reports.push(report);
    reports.len() - 1
}

/// An activation, until it ends or is dropped.
struct Running<'a> {
    driver: &'a TaskDriver,
    index: usize,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.driver.with_reports(|reports| reports[self.index].is_running = false);
    }
}

#[cfg(test)]
mod tests;
