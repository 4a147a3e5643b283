//! Maintenance of the gateway's tables: partitions and retention. The retention times are in the
//! migration `retention`.
//!
//! Not here: the lock audit, the admin audit and revocations, which are never deleted.

use std::time::Duration;

use service_kit::table_maintenance::{RetentionSweep, TableMaintenance};

use crate::background::job::Job;

pub(crate) const MAINTENANCE: TableMaintenance = TableMaintenance {
    schema: "bff",
    prefix: "bff_backoffice",
    has_months: true,
    // Keys before the attestations whose uses belong to them.
    swept: &[
        "idempotency",
        "mfa_attestations",
        "mfa_attempts",
        "inbox",
        "outbox",
        "operator_activity",
    ],
};

/// Deletes expired rows now; the gateway also does so hourly. Its statements take a lock of their own.
impl Job for RetentionSweep {
    const NAME: &'static str = Self::NAME;
    const PATH: &'static str = "sweep-idempotency";
    const LEASE: Option<Duration> = None;
}
