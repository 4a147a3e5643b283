//! What background tasks share: notification of changes between instances, and leases of jobs.

pub mod change_notifier;
pub mod job_lease;
