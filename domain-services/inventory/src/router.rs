//! The routes of the service, and the head of its OpenAPI document.

use service_kit::service::Shared;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::{availability, calendar};

#[derive(OpenApi)]
#[openapi(info(
    title = "inventory",
    description = "What can still be sold, by room type and night, and who has which room."
))]
struct Document;

pub fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(availability::handler))
        .routes(routes!(calendar::handler))
}
