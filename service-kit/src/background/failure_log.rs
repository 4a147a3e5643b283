//! What is logged of a task's failures. A task that fails every second must not fill the log, and no
//! cause may be missing in it.

use std::error::Error;
use std::time::Duration;

use tokio::time::Instant;

use crate::problem::chain;

/// A failure with the same cause is a warning again after this long.
const REPEAT_AFTER: Duration = Duration::from_secs(5 * 60);

/// The failures of one task in a row.
#[derive(Debug)]
pub(super) struct FailureLog {
    /// The cause that was a warning last, and when.
    warned: Option<(String, Instant)>,
}

impl FailureLog {
    pub(super) fn new() -> Self {
        Self { warned: None }
    }

    pub(super) fn failed(&mut self, task: &'static str, error: &(dyn Error + 'static)) {
        let error = chain(error);
        if self.is_warning(&error) {
            tracing::warn!(task, %error, "A background task failed; it is tried again.");
        } else {
            tracing::debug!(task, %error, "A background task failed again.");
        }
    }

    pub(super) fn succeeded(&mut self, task: &'static str) {
        if self.warned.take().is_some() {
            tracing::info!(task, "A background task succeeded again.");
        }
    }

    fn is_warning(&mut self, error: &str) -> bool {
        let is_known = self
            .warned
            .as_ref()
            .is_some_and(|(known, at)| known == error && at.elapsed() < REPEAT_AFTER);
        if !is_known {
            self.warned = Some((error.to_owned(), Instant::now()));
        }
        !is_known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_new_cause_is_a_warning_and_the_same_one_after_a_while() {
        let mut log = FailureLog::new();
        assert_eq!(["refused", "refused"].map(|error| log.is_warning(error)), [true, false]);
        assert_eq!(["timeout", "timeout"].map(|error| log.is_warning(error)), [true, false]);
        tokio::time::advance(REPEAT_AFTER).await;
        assert!(log.is_warning("timeout"));
        log.succeeded("task");
        assert!(log.is_warning("timeout"), "after a success it is a failure of its own");
    }
}
