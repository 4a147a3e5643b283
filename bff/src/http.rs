//! Routers, layers, TLS, and the OpenAPI document.

pub(crate) mod endpoints;
pub(crate) mod internal_router;
pub(crate) mod middleware;
pub(crate) mod openapi;
pub(crate) mod router;
pub(crate) mod tls;
