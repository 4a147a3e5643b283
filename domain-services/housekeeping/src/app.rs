//! The definition of the service: its name, metrics and routes.

use service_kit::service::{Internal, Service};

use crate::router;
use crate::table_maintenance::MAINTENANCE;

pub const SERVICE: Service = Service {
    name: "housekeeping",
    metrics: service_kit::request_metrics!("housekeeping"),
    connection_metrics: service_kit::connection_metrics!("housekeeping"),
    api: router::router,
    internal: Internal {
        routes: router::internal,
        failures: "housekeeping_internal_auth_failure_total",
    },
    maintenance: MAINTENANCE,
};
