//! The routes of the service, and the head of its OpenAPI document.

use service_kit::service::Shared;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::{capacity, on_duty, shifts, staffing_gaps};

#[derive(OpenApi)]
#[openapi(info(title = "staff", description = "Who works when, and who is on the floor."))]
struct Document;

pub fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(on_duty::handler))
        .routes(routes!(capacity::handler))
        .routes(routes!(shifts::handler))
        .routes(routes!(staffing_gaps::handler))
}
