//! Table maintenance of this service: partitions, and deletion of old inbox and outbox rows. The
//! retention times are in the migration `retention`.

use service_kit::table_maintenance::{Months, Retention, Sweep, TableMaintenance};

pub const MAINTENANCE: TableMaintenance = TableMaintenance {
    months: Some(Months {
        make: "SELECT housekeeping.make_next_month()",
        state: "SELECT parent, default_rows, months_ahead FROM housekeeping.partition_state()",
        rotations: "housekeeping_partition_rotation_total",
        default_rows: "housekeeping_default_partition_rows",
        months_ahead: "housekeeping_partition_months_ahead",
    }),
    retention: Retention {
        sweeps: &[
            Sweep { table: "inbox", statement: "SELECT housekeeping.sweep_inbox($1)" },
            Sweep { table: "outbox", statement: "SELECT housekeeping.sweep_outbox($1)" },
        ],
        swept: "housekeeping_swept_rows_total",
        last_success: "housekeeping_sweep_last_success_timestamp_seconds",
    },
};
