//! Table maintenance of this service: deletion of old inbox and outbox rows. The retention times are in
//! the migration `retention`.

use service_kit::table_maintenance::{Retention, Sweep, TableMaintenance};

pub const MAINTENANCE: TableMaintenance = TableMaintenance {
    months: None,
    retention: Retention {
        sweeps: &[
            Sweep { table: "inbox", statement: "SELECT staff.sweep_inbox($1)" },
            Sweep { table: "outbox", statement: "SELECT staff.sweep_outbox($1)" },
        ],
        swept: "staff_swept_rows_total",
        last_success: "staff_sweep_last_success_timestamp_seconds",
    },
};
