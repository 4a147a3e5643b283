//! Maintenance of the gateway's tables: partitions and retention. The retention times are in the
//! migration `retention`.
//!
//! Not here: the lock audit, the admin audit and revocations, which are never deleted.

use std::time::Duration;

use service_kit::table_maintenance::{Months, Retention, RetentionSweep, Sweep, TableMaintenance};

use crate::background::job::Job;

pub(crate) const MAINTENANCE: TableMaintenance = TableMaintenance {
    months: Some(Months {
        make: "SELECT bff.make_next_month()",
        state: "SELECT parent, default_rows, months_ahead FROM bff.partition_state()",
        rotations: "bff_backoffice_partition_rotation_total",
        default_rows: "bff_backoffice_default_partition_rows",
        months_ahead: "bff_backoffice_partition_months_ahead",
    }),
    retention: RETENTION,
};

/// Keys before the attestations whose uses belong to them.
pub(crate) const RETENTION: Retention = Retention {
    sweeps: &[
        Sweep { table: "idempotency", statement: "SELECT bff.sweep_idempotency($1)" },
        Sweep { table: "mfa_attestations", statement: "SELECT bff.sweep_mfa_attestations($1)" },
        Sweep { table: "mfa_attempts", statement: "SELECT bff.sweep_mfa_attempts($1)" },
        Sweep { table: "inbox", statement: "SELECT bff.sweep_inbox($1)" },
        Sweep { table: "outbox", statement: "SELECT bff.sweep_outbox($1)" },
        Sweep { table: "operator_activity", statement: "SELECT bff.sweep_operator_activity($1)" },
    ],
    swept: "bff_backoffice_swept_rows_total",
    last_success: "bff_backoffice_sweep_last_success_timestamp_seconds",
};

/// Deletes expired rows now; the gateway also does so hourly. Its statements take a lock of their own.
impl Job for RetentionSweep {
    const NAME: &'static str = Self::NAME;
    const PATH: &'static str = "sweep-idempotency";
    const LEASE: Option<Duration> = None;
}
