//! Every route of the public listener, grouped by the authentication it requires.

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::handlers::public::auth::{refresh, sign_out, step_up};
use crate::handlers::public::{
    alerts, dashboard, folios, housekeeping, inventory, lock_audit, locks, maintenance,
    reservations, session, staff, stream, suggestions, sync_cursor, sync_handshake, workbench,
};
use crate::state::Gateway;

/// Routes that require an access token.
pub(crate) fn authenticated_routes() -> OpenApiRouter<Gateway> {
    OpenApiRouter::new()
        .routes(routes!(dashboard::get_dashboard))
        .routes(routes!(workbench::get_today))
        .routes(routes!(workbench::list_arrivals))
        .routes(routes!(workbench::list_departures))
        .routes(routes!(workbench::list_in_house))
        .routes(routes!(inventory::get_availability))
        .routes(routes!(inventory::get_calendar))
        .routes(routes!(housekeeping::get_board))
        .routes(routes!(staff::list_shifts))
        .routes(routes!(staff::get_capacity))
        .routes(routes!(staff::get_on_duty))
        .routes(routes!(reservations::check_in))
        .routes(routes!(folios::get_folio))
        .routes(routes!(folios::refund))
        .routes(routes!(locks::issue_key))
        .routes(routes!(locks::revoke_key))
        .routes(routes!(lock_audit::list_lock_audit))
        .routes(routes!(maintenance::get_board))
        .routes(routes!(alerts::list_alerts))
        .routes(routes!(suggestions::list_suggestions))
        .routes(routes!(session::get_session))
        .routes(routes!(sync_cursor::get_cursor, sync_cursor::advance_cursor))
        .routes(routes!(sync_handshake::start_sync_handshake))
        .routes(routes!(stream::open_stream))
        .routes(routes!(sign_out::sign_out))
        .routes(routes!(step_up::step_up))
}

/// Routes that require only a proof and the device, because the caller has no valid token.
pub(crate) fn proof_only_routes() -> OpenApiRouter<Gateway> {
    OpenApiRouter::new().routes(routes!(refresh::refresh))
}
