//! Every route of the public listener, and whether it is open.

use axum::Router;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::handlers::auth::{refresh, sign_out, step_up};
use crate::handlers::{
    arrivals, dashboard, folios, inventory, reference, reservations, session, stream,
};
use crate::openapi;
use crate::state::Gateway;

/// Where the API stands, on every host.
pub const BASE_PATH: &str = "/api/bff/backoffice/v1";

/// Routes that need a principal.
pub fn guarded() -> OpenApiRouter<Gateway> {
    OpenApiRouter::new()
        .routes(routes!(dashboard::get_dashboard))
        .routes(routes!(arrivals::list_arrivals))
        .routes(routes!(inventory::get_availability))
        .routes(routes!(reservations::check_in))
        .routes(routes!(folios::refund))
        .routes(routes!(session::get_session))
        .routes(routes!(stream::open_stream))
        .routes(routes!(sign_out::sign_out))
        .routes(routes!(step_up::step_up))
}

/// Routes for which a proof and the device are enough: whoever calls has no good token any more.
pub fn proven() -> OpenApiRouter<Gateway> {
    OpenApiRouter::new().routes(routes!(refresh::refresh))
}

/// Routes that need none: the API's own description. Health is added where readiness is known.
pub fn open() -> Router {
    Router::new().merge(reference::router(openapi::json()))
}
