//! The OpenAPI document and a page that renders it, both without authentication.

use axum::Router;
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use http::header::CONTENT_TYPE;

use crate::paths::BASE_PATH;

const PAGE: &str = include_str!("reference.html");

/// Serves `/openapi.json` at the root and below the base path, and `/docs`.
pub(crate) fn router(document: String) -> Router {
    let document: &'static str = Box::leak(document.into_boxed_str());
    let json =
        get(
            move || async move { ([(CONTENT_TYPE, "application/json")], document).into_response() },
        );
    Router::new()
        .route("/openapi.json", json.clone())
        .route(&format!("{BASE_PATH}/openapi.json"), json)
        .route("/docs", get(|| async { Html(PAGE) }))
}
