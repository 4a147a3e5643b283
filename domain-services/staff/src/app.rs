//! What this service is: its name, its metrics, its routes.

use service_kit::service::Service;

use crate::router;

pub const SERVICE: Service =
    Service { name: "staff", metrics: service_kit::request_metrics!("staff"), api: router::router };
