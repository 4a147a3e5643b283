//! The definition of the service: its name, metrics, routes, and the maintenance of its tables. The
//! retention times are in the migration `retention`.

use service_kit::service::{Internal, Service};
use service_kit::table_maintenance::TableMaintenance;

use crate::router;

pub const SERVICE: Service = Service {
    name: "housekeeping",
    metrics: service_kit::request_metrics!("housekeeping"),
    connection_metrics: service_kit::connection_metrics!("housekeeping"),
    api: router::router,
    internal: Internal {
        routes: router::internal,
        failures: "housekeeping_internal_auth_failure_total",
    },
    maintenance: TableMaintenance {
        schema: "housekeeping",
        prefix: "housekeeping",
        has_months: true,
        swept: &["inbox", "outbox"],
    },
};
