//! Every route of the service, and the head of its OpenAPI document.

use service_kit::service::Shared;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::availability;

#[derive(OpenApi)]
#[openapi(info(
    title = "inventory",
    description = "What can still be sold, by room type and night."
))]
struct Document;

pub fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::with_openapi(Document::openapi()).routes(routes!(availability::handler))
}
