//! Building blocks of background tasks: change notification between instances, and job leases.

pub mod change_notifier;
pub mod job_lease;
