//! The routes of the service, and the head of its OpenAPI document.

use axum::Router;
use axum::routing::post;
use service_kit::identity::{AccountGroup, RequireAccount};
use service_kit::service::Shared;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::{board, events, flip_room_status, get_room_status, list_room_statuses, summary};

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
        .routes(routes!(list_room_statuses::handler))
        .routes(routes!(get_room_status::handler, flip_room_status::handler))
}

/// Internal routes, for the event bus only.
pub fn internal(_: Shared, guard: &RequireAccount) -> Router {
    guard.protect(Router::new().route("/events", post(events::receive_event)), AccountGroup::Events)
}
