//! Session operations after sign-in: refresh, sign-out and step-up.

use std::time::Duration;

pub(crate) mod refresh;
pub(crate) mod sign_out;
pub(crate) mod step_up;

/// Deadline of calls to iam, counted from the request's first byte.
const IAM_TIMEOUT: Duration = Duration::from_millis(700);
