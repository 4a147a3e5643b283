//! Every route of the service, and the head of its OpenAPI document.

use axum::Router;
use axum::routing::post;
use service_kit::identity::{Guard, Role};
use service_kit::service::Shared;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::{board, events, flip_room_status, room_status, room_statuses, summary};

#[derive(OpenApi)]
#[openapi(info(
    title = "housekeeping",
    description = "The state of every room, and the work on them."
))]
struct Document;

pub fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(summary::handler))
        .routes(routes!(board::handler))
        .routes(routes!(room_statuses::handler))
        .routes(routes!(room_status::handler, flip_room_status::handler))
}

/// For the event bus alone.
pub fn internal(_: Shared, guard: &Guard) -> Router {
    guard.around(Router::new().route("/events", post(events::take_event)), Role::Events)
}
