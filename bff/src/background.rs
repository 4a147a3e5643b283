//! Building blocks of the gateway's background tasks: subscriptions to Redis channels, change
//! notification between instances, and jobs that run under a lease.
//!
//! Not here: the tasks, which live with their subjects and are listed in `wiring/tasks.rs`, and their
//! driver, [`service_kit::background`], which all servers use.

pub(crate) mod change_notifier;
pub(crate) mod job;
pub(crate) mod subscription;
