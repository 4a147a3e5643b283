//! The definition of the service: its name, metrics and routes.

use service_kit::service::{Internal, Service, no_internal_routes};

use crate::router;
use crate::table_maintenance::MAINTENANCE;

pub const SERVICE: Service = Service {
    name: "staff",
    metrics: service_kit::request_metrics!("staff"),
    connection_metrics: service_kit::connection_metrics!("staff"),
    api: router::router,
    internal: Internal {
        routes: no_internal_routes,
        failures: "staff_internal_auth_failure_total",
    },
    maintenance: MAINTENANCE,
};
