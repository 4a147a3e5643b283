//! Every route of the service, and the head of its OpenAPI document.

use service_kit::service::Shared;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::{room_statuses, summary};

#[derive(OpenApi)]
#[openapi(info(
    title = "housekeeping",
    description = "The state of every room, and the work on them."
))]
struct Document;

pub fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(summary::handler))
        .routes(routes!(room_statuses::handler))
}
