//! The upkeep of this service's tables: how long it keeps what it consumed and published.
//! The times themselves are in the migration `retention`.

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
