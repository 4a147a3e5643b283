//! The definition of the service: its name, metrics, routes, and the maintenance of its tables. The
//! retention times are in the migration `retention`.

use service_kit::service::{Internal, Service, no_internal_routes};
use service_kit::table_maintenance::TableMaintenance;

use crate::router;

pub const SERVICE: Service = Service {
    name: "staff",
    metrics: service_kit::request_metrics!("staff"),
    connection_metrics: service_kit::connection_metrics!("staff"),
    api: router::router,
    internal: Internal {
        routes: no_internal_routes,
        failures: "staff_internal_auth_failure_total",
    },
    maintenance: TableMaintenance {
        schema: "staff",
        prefix: "staff",
        has_months: false,
        swept: &["inbox", "outbox"],
    },
};
