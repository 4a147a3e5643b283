//! The definition of the service: its name, metrics, routes, and the maintenance of its tables. The
//! retention times are in the migration `retention`.

use service_kit::service::{Internal, Service, no_internal_routes};
use service_kit::table_maintenance::TableMaintenance;

use crate::router;

pub const SERVICE: Service = Service {
    name: "inventory",
    metrics: service_kit::request_metrics!("inventory"),
    connection_metrics: service_kit::connection_metrics!("inventory"),
    api: router::router,
    internal: Internal {
        routes: no_internal_routes,
        failures: "inventory_internal_auth_failure_total",
    },
    maintenance: TableMaintenance {
        schema: "inventory",
        prefix: "inventory",
        has_months: true,
        swept: &["inbox", "outbox"],
    },
};
