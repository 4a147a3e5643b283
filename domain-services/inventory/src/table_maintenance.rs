//! Table maintenance of this service: partitions, and deletion of old inbox and outbox rows. The
//! retention times are in the migration `retention`.

use service_kit::table_maintenance::{Months, Retention, Sweep, TableMaintenance};

pub const MAINTENANCE: TableMaintenance = TableMaintenance {
    months: Some(Months {
        make: "SELECT inventory.make_next_month()",
        state: "SELECT parent, default_rows, months_ahead FROM inventory.partition_state()",
        rotations: "inventory_partition_rotation_total",
        default_rows: "inventory_default_partition_rows",
        months_ahead: "inventory_partition_months_ahead",
    }),
    retention: Retention {
        sweeps: &[
            Sweep { table: "inbox", statement: "SELECT inventory.sweep_inbox($1)" },
            Sweep { table: "outbox", statement: "SELECT inventory.sweep_outbox($1)" },
        ],
        swept: "inventory_swept_rows_total",
        last_success: "inventory_sweep_last_success_timestamp_seconds",
    },
};
