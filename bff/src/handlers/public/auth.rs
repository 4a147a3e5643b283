//! What becomes of a session after the sign-in, which is iam's: renewed, ended, and stepped up for
//! one action.

use std::time::Duration;

pub mod refresh;
pub mod sign_out;
pub mod step_up;

/// Longest wait for iam, where something waits for it from the request's first byte on: what a
/// call to it may take, and a little for the way there.
const IAM_WITHIN: Duration = Duration::from_millis(700);
