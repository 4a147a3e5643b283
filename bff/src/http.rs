//! Routers, layers, TLS, and the OpenAPI document.

pub mod endpoints;
pub mod internal_router;
pub mod middleware;
pub mod openapi;
pub mod router;
pub mod tls;
